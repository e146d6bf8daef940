# SPDX-License-Identifier: BSD-2-Clause
"""The target mach-port-names on the distribution's kernels: the report's deadlock, forced."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from running import PROJECT, Harness

from harness.errors import InfrastructureError
from harness.hangs import Hang
from harness.kernels.apt import fetch_package
from harness.kernels.packaged import DEBIAN_ARCHITECTURES
from harness.paths import cache_folder
from harness.plan.load import load_guest, load_target
from harness.qemu.process import require_qemu

TARGET = "mach-port-names"
SYMPTOM = "deadlock of the wiring and the unwiring thread"
ENDLESS_WALK = "livelock: a walk of the map's entries has no end"
CAMPAIGN_SECONDS = 600
SOURCE = os.environ.get("HARNESS_GNUMACH_SRC")
BUILD_SECONDS = 3000
TRIALS = 2

pytestmark = [pytest.mark.guest, pytest.mark.timeout(CAMPAIGN_SECONDS + 60)]

Campaign = tuple[dict[str, Any], Path]


def need_kernel(guest_name: str) -> None:
    """Skips where the packaged kernel or QEMU cannot be had."""
    guest = load_guest(PROJECT, guest_name).model
    recipe = load_target(PROJECT, TARGET).model.kernels["fixed"][guest_name]
    assert recipe.package is not None
    assert recipe.suite is not None
    try:
        require_qemu(guest.machine.qemu)
        fetch_package(
            recipe.package, recipe.suite, DEBIAN_ARCHITECTURES[guest.arch], cache_folder(), print
        )
    except InfrastructureError as error:
        pytest.skip(str(error))


@pytest.fixture(
    scope="module",
    params=["gnumach-x86_64", pytest.param("gnumach-i686", marks=pytest.mark.slow)],
)
def campaign(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """Two trials of the buggy and the fixed arm: the campaign's summary and folder."""
    need_kernel(request.param)
    harness = Harness(PROJECT, tmp_path_factory.mktemp("results"))
    done = harness.run(
        "repro", TARGET, "--guest", request.param, "--trials", str(TRIALS), "--seed", "5", "--json",
        seconds=CAMPAIGN_SECONDS,
    )  # fmt: skip
    assert done.out, done.err
    return done.document, harness.campaigns()[-1]


def trials_of(campaign: Campaign, arm: str) -> list[Path]:
    """The folders of an arm's trials."""
    return sorted((campaign[1] / "trials").glob(f"{arm}-*"))


def test_the_deadlock_is_forced_where_the_fix_is_taken_out(campaign: Campaign) -> None:
    summary, _ = campaign
    assert SYMPTOM in summary["arms"]["buggy"]["symptoms"]
    assert summary["arms"]["buggy"]["reproduced"] >= TRIALS - 1
    assert summary["arms"]["fixed"]["reproduced"] == 0


def test_the_fixed_kernel_goes_through_the_same_order(campaign: Campaign) -> None:
    for folder in trials_of(campaign, "fixed"):
        trial = json.loads((folder / "trial.json").read_bytes())
        assert trial["verdict"] == "survived", trial["reason"]
        assert trial["orders_reached"]
        assert min(trial["workload_fields"]["progress"]) > 1


def test_the_evidence_has_both_waits_with_lines(campaign: Campaign) -> None:
    reproduced = [
        folder
        for folder in trials_of(campaign, "buggy")
        if json.loads((folder / "trial.json").read_bytes())["verdict"] == "reproduced"
    ]
    assert reproduced
    hang = Hang.from_json(json.loads((reproduced[0] / "hang.json").read_bytes()))
    awaited = {t.awaits.kind: t for t in hang.threads if t.awaits is not None}
    page = awaited["page"]
    assert page.awaits is not None
    assert (page.awaits.state["busy"], page.awaits.state["wanted"]) == (1, 1)
    functions = [frame.function for frame in page.stack]
    assert functions.index("vm_fault_unwire") < functions.index("vm_map_pageable_scan")
    assert functions.index("vm_map_pageable_scan") < functions.index("mach_port_names")
    text = (reproduced[0] / "hang.txt").read_text()
    assert "(lock of ipc_kernel_map): want_write 1" in text
    assert "vm/vm_map.c:" in text


def test_every_changed_byte_is_listed(campaign: Campaign) -> None:
    label = campaign[0]["arms"]["buggy"]["kernel"]
    assert label.endswith("(un-fixed)")
    changes = [
        file.read_text()
        for file in (cache_folder() / "kernels").glob("unfix-*/changes.txt")
        if file.read_text().startswith(label.removesuffix(" (un-fixed)") + ":")
    ]
    assert any("walk-to-entry" in text and " -> 90" in text for text in changes)


@pytest.mark.slow
def test_what_the_fix_leaves_open(tmp_path: Path) -> None:
    need_kernel("gnumach-x86_64")
    harness = Harness(PROJECT, tmp_path / "results")
    done = harness.run(
        "repro", TARGET, "--guest", "gnumach-x86_64", "--trials", str(TRIALS), "--seed", "5",
        "--arms", "freed-neighbour,freed-neighbour-mended", "--json", seconds=CAMPAIGN_SECONDS,
    )  # fmt: skip
    assert done.out, done.err
    arms = done.document["arms"]
    assert arms["freed-neighbour"]["reproduced"] >= TRIALS - 1
    assert list(arms["freed-neighbour"]["symptoms"]) == [ENDLESS_WALK]
    assert arms["freed-neighbour"]["kernel"] == arms["fixed"]["kernel"]
    assert arms["freed-neighbour-mended"]["reproduced"] == 0
    for file in harness.campaigns()[-1].glob("trials/freed-neighbour-mended-*/trial.json"):
        trial = json.loads(file.read_bytes())
        assert trial["verdict"] == "survived", trial["reason"]
        assert min(trial["workload_fields"]["progress"]) > 1


@pytest.mark.slow
@pytest.mark.timeout(BUILD_SECONDS + 60)
@pytest.mark.skipif(
    SOURCE is None,
    reason="HARNESS_GNUMACH_SRC names no git repository of GNU Mach (docs/gnumach.md)",
)
@pytest.mark.parametrize(
    ("guest", "tree"),
    [("gnumach-i686", "df19628b..1a4ce715"), ("gnumach-x86_64", "40166870")],
)
def test_kernels_from_source(guest: str, tree: str, tmp_path: Path) -> None:
    """i686: before and after the series; x86-64: a later tree with and without the patches."""
    harness = Harness(PROJECT, tmp_path / "results")
    done = harness.run(
        "repro", TARGET, "--guest", guest, "--source", f"{SOURCE}@{tree}", "--trials", "1",
        "--seed", "5", "--json", seconds=BUILD_SECONDS,
    )  # fmt: skip
    assert done.out, done.err
    arms = done.document["arms"]
    assert list(arms["buggy"]["symptoms"]) == [SYMPTOM]
    assert arms["fixed"]["reproduced"] == 0
