# SPDX-License-Identifier: BSD-2-Clause
"""The target linux-iomap-migrate on its own kernel: both symptoms, both controls, its evidence."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.kernels.kbuild.architecture import architecture
from harness.kernels.kbuild.requirements import missing_packages
from harness.paths import PROJECT

pytestmark = [pytest.mark.guest, pytest.mark.slow, pytest.mark.timeout(3600)]

TRIALS = 2
MISSING = missing_packages(os.environ.get("CC", "gcc"), architecture("x86_64"))
FAULT, READ = "freed page in a migration wait", "freed page in a buffered read"
MOVER = "freed page in the mover"


def run_campaign(results: Path, *options: str) -> dict[str, Any]:
    """A campaign's summary; it must hold its claim."""
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("harness")), "repro", "linux-iomap-migrate",
            "--json", "--trials", str(TRIALS), "--seed", "1", "--results", str(results), *options,
        ],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 3), done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def trials(results: Path, summary: dict[str, Any], arm: str) -> list[tuple[dict[str, Any], str]]:
    """The records of an arm's trials, each with its console."""
    folders = sorted((results / summary["campaign"] / "trials").glob(f"{arm}-[0-9]*"))
    return [
        (
            json.loads((folder / "trial.json").read_text()),
            (folder / "console.log").read_text(errors="replace"),
        )
        for folder in folders
    ]


@pytest.fixture(scope="module")
def forced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    if MISSING:
        pytest.skip(f"no kernel can be built here without {', '.join(MISSING.values())}")
    results = tmp_path_factory.mktemp("results")
    return results, run_campaign(results)


@pytest.mark.parametrize(("arm", "symptom"), [("buggy", FAULT), ("buggy-read", READ)])
def test_each_forced_order_shows_its_own_symptom(
    forced: tuple[Path, dict[str, Any]], arm: str, symptom: str
) -> None:
    _, summary = forced
    assert summary["arms"][arm]["symptoms"] == {symptom: TRIALS}
    assert summary["arms"][arm]["orders_reached"] == TRIALS


@pytest.mark.parametrize("arm", ["fixed", "fixed-read"])
def test_the_same_order_is_harmless_with_the_reference(
    forced: tuple[Path, dict[str, Any]], arm: str
) -> None:
    _, summary = forced
    found = summary["arms"][arm]
    assert (found["survived"], found["orders_reached"]) == (TRIALS, TRIALS)
    assert found["attempts"]["failed"] == 0


@pytest.mark.parametrize("arm", ["buggy-held-before-reference", "buggy-held-after-reference"])
def test_a_hold_outside_the_window_is_silent(forced: tuple[Path, dict[str, Any]], arm: str) -> None:
    _, summary = forced
    found = summary["arms"][arm]
    assert (found["survived"], found["orders_reached"]) == (TRIALS, TRIALS)


@pytest.mark.parametrize(
    ("arm", "guilty"),
    [("buggy", "__migration_entry_wait"), ("buggy-read", "generic_file_buffered_read")],
)
def test_the_console_holds_the_whole_report(
    forced: tuple[Path, dict[str, Any]], arm: str, guilty: str
) -> None:
    results, summary = forced
    for _, console in trials(results, summary, arm):
        report = console[console.index("VM_BUG_ON_PAGE(page_ref_count(page) == 0)") :]
        assert "kernel BUG at include/linux/mm.h" in report
        stack = report[report.index("Call Trace:") : report.index("---[ end trace")]
        assert guilty in stack + report[: report.index("Call Trace:")]
        assert "entry_SYSCALL_64" in stack or "asm_exc_page_fault" in stack


def test_migrations_are_counted_in_every_trial(forced: tuple[Path, dict[str, Any]]) -> None:
    """As in the report: with the reference missing, undisturbed pages cannot be moved at all."""
    results, summary = forced
    for record, _ in trials(results, summary, "buggy"):
        assert record["workload_fields"]["pgmigrate_success"] == 0
        assert record["workload_fields"]["pgmigrate_fail"] > 0
    for record, _ in trials(results, summary, "fixed"):
        moved = record["workload_fields"]
        assert moved["pgmigrate_success"] > moved["pgmigrate_fail"]


def test_without_failpoints_the_race_is_found_too(tmp_path: Path) -> None:
    if MISSING:
        pytest.skip(f"no kernel can be built here without {', '.join(MISSING.values())}")
    summary = run_campaign(tmp_path, "--no-failpoints")
    assert summary["arms"]["buggy"]["reproduced"] > 0
    assert set(summary["arms"]["buggy"]["symptoms"]) <= {FAULT, READ, MOVER}
    assert summary["arms"]["fixed"]["survived"] == TRIALS
