# SPDX-License-Identifier: BSD-2-Clause
"""Workloads and guests that misbehave: each has its verdict, and none harms the harness."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from running import Harness, make_project

pytestmark = [pytest.mark.guest, pytest.mark.timeout(240)]
Chaos = Callable[..., Harness]


def trial(harness: Harness, arm: str) -> tuple[dict[str, object], Path]:
    (folder,) = harness.campaigns()[-1].glob(f"trials/{arm}-0001")
    return json.loads((folder / "trial.json").read_bytes()), folder


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[Harness, str, dict[str, object]]:
    """One trial of every arm."""
    folder = tmp_path_factory.mktemp("chaos")
    harness = Harness(make_project(folder / "project"), folder / "results")
    done = harness.run("repro", "chaos", "--arms", "all", "--trials", "1", "--json")
    assert done.status == 0, done.err
    return harness, done.err, done.document


Outcome = tuple[Harness, str, dict[str, object]]


@pytest.mark.parametrize(
    ("arm", "verdict", "reason"),
    [
        ("buggy", "reproduced", "chaos: detail"),
        ("fixed", "survived", "the workload was done"),
        ("forever", "survived", "the trial's time was over"),
        ("silent", "hung", r"no life for \d+ s"),
        ("segv", "crashed", "ended by signal 11"),
        ("unknown-symptom", "crashed", "workload: something else"),
        ("panic", "crashed", "sysrq"),
        ("flood", "survived", "the workload was done"),
        ("babble", "survived", "the workload was done"),
    ],
)
def test_each_has_its_verdict(outcome: Outcome, arm: str, verdict: str, reason: str) -> None:
    record, folder = trial(outcome[0], arm)
    assert (record["verdict"], bool(re.search(reason, str(record["reason"])))) == (
        verdict,
        True,
    ), record
    assert {path.name for path in folder.iterdir()} >= {
        "trial.json", "console.log", "control.log", "qemu.json", "qemu.log", "workload.jsonl",
    }  # fmt: skip


def test_a_hang_leaves_the_registers(outcome: Outcome) -> None:
    _, folder = trial(outcome[0], "silent")
    registers = (folder / "registers.txt").read_text()
    assert registers.count("RIP=") == 2
    assert not (folder.with_name("fixed-0001") / "registers.txt").exists()


def test_a_panic_is_on_the_console_with_its_end(outcome: Outcome) -> None:
    record, folder = trial(outcome[0], "panic")
    console = (folder / "console.log").read_bytes()
    assert b"sysrq: Trigger a crash" in console
    assert b"Kernel panic - not syncing" in console
    assert record["reports"]


def test_the_console_is_kept_byte_for_byte(outcome: Outcome) -> None:
    record, folder = trial(outcome[0], "flood")
    console = (folder / "console.log").read_bytes()
    nasty = b"\x1b]0;owned\x07\x1b[2J\x1b[1;31m\xff\xfe\x80\0\x9b5n\x1bP+q\x1b\\ BUG\r \b\b"
    assert console.count(nasty) >= 1500
    assert record["console_bytes"] >= 64 << 10  # type: ignore[operator]
    assert record["console_dropped_bytes"] == 0


def test_nothing_of_it_reached_the_terminal(outcome: Outcome) -> None:
    _, err, _ = outcome
    assert "buggy 1: reproduced (chaos: detail" in err
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", err)


def test_babble_is_noted_and_not_believed(outcome: Outcome) -> None:
    record, folder = trial(outcome[0], "babble")
    assert len(record["notes"]) == 20  # type: ignore[arg-type]
    assert record["guest_seconds"] is not None
    json.loads((folder / "trial.json").read_text())


def test_the_summary_counts_them(outcome: Outcome) -> None:
    arms = outcome[2]["arms"]
    assert isinstance(arms, dict)
    counts = {name: [key for key in VERDICTS if found[key]] for name, found in arms.items()}
    assert counts["silent"] == ["hung"]
    assert counts["panic"] == counts["segv"] == ["crashed"]
    assert all(found["trials"] == 1 for found in arms.values())
    assert all(found["accelerator"] in ("tcg", "kvm") for found in arms.values())


VERDICTS = ("reproduced", "crashed", "hung", "survived", "void")


def test_a_panic_that_the_target_names_is_its_symptom(chaos: Chaos) -> None:
    harness = chaos(
        ('mode = "symptom"', 'mode = "panic"'),
        (
            "[[symptom]]\n",
            '[[symptom]]\nname = "crash"\nconsole = { title = "sysrq" }\n\n[[symptom]]\n',
        ),
    )
    done = harness.run("repro", "chaos", "--trials", "1", "--json", "--cold-boot")
    buggy = done.document["arms"]["buggy"]
    assert (buggy["reproduced"], buggy["crashed"]) == (1, 0), done.err
    assert buggy["symptoms"] == {"crash": 1}
    assert buggy["median_cpu_seconds"] > 0


@pytest.mark.parametrize(
    ("mode", "reason"),
    [("error", "could not run: there is no .*zram"), ("never-starts", "never started")],
)
def test_a_workload_that_cannot_run_is_void_until_it_is_too_much(
    chaos: Chaos, mode: str, reason: str
) -> None:
    harness = chaos(('mode = "symptom"', f'mode = "{mode}"'), ('mode = "done"', f'mode = "{mode}"'))
    done = harness.run("repro", "chaos")
    assert done.status == 4
    assert re.search(f"2 void trials in a row in the arm .*{reason}", done.err), done.err
    assert "\x1b" not in done.err
    summary = json.loads((harness.campaigns()[-1] / "summary.json").read_bytes())
    assert not summary["complete"]
    for found in summary["arms"].values():
        assert found["trials"] == found["reproduced"] == found["survived"] == 0


def test_a_setup_that_fails_is_told(chaos: Chaos) -> None:
    harness = chaos(
        ("[workload]", '[userland]\nsetup = ["echo about to fail; false"]\n\n[workload]')
    )
    done = harness.run("repro", "chaos")
    assert done.status == 4
    assert "`echo about to fail; false` ended with status 1: about to fail" in done.err
    assert harness.no_qemu_within()
