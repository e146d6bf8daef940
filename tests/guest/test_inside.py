# SPDX-License-Identifier: BSD-2-Clause
"""Failpoints inside a Linux guest and by its gdb server, on a kernel that is built with hooks."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from running import PROJECT, Harness

from harness.kernels.kbuild.architecture import architecture
from harness.kernels.kbuild.requirements import missing_packages

INSIDE = PROJECT / "tests" / "guest" / "inside"
FIRST_BUILD_SECONDS = 3600
CAMPAIGN_SECONDS = 600

pytestmark = [
    pytest.mark.guest,
    pytest.mark.slow,
    pytest.mark.timeout(FIRST_BUILD_SECONDS + CAMPAIGN_SECONDS),
]


def make_project(folder: Path, *edits: tuple[str, str]) -> Path:
    """A project whose only target is `inside`; each edit replaces a text of its target.toml."""
    shutil.copytree(PROJECT / "guest-configs", folder / "guest-configs")
    (folder / "workloads").mkdir()
    shutil.copy(PROJECT / "workloads" / "harness_workload.h", folder / "workloads")
    shutil.copy(INSIDE / "inside.c", folder / "workloads")
    (folder / "scripts").mkdir()
    shutil.copy(PROJECT / "scripts" / "host-packages", folder / "scripts")
    target = folder / "failpoints" / "inside"
    target.mkdir(parents=True)
    for file in INSIDE.iterdir():
        if file.suffix != ".c":
            shutil.copy(file, target)
    text = (target / "target.toml").read_text()
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    (target / "target.toml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """One trial of every arm: its record."""
    missing = missing_packages("gcc", architecture("x86_64"))
    if missing or shutil.which("spatch") is None:
        pytest.skip(f"a kernel with hooks cannot be built here: {', '.join(missing)} or spatch")
    folder = tmp_path_factory.mktemp("inside")
    harness = Harness(make_project(folder / "project"), folder / "results")
    done = harness.run(
        "repro", "inside", "--arms", "all", "--trials", "1", "--seed", "1", "--json",
        seconds=FIRST_BUILD_SECONDS + CAMPAIGN_SECONDS,
    )  # fmt: skip
    assert done.out, done.err
    found = [json.loads(record) for record in harness.finished().values()]
    return {record["arm"]: record for record in found}


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Callable[..., Harness]]:
    """Makes a harness in a project of its own, changed by edits."""

    def make(*edits: tuple[str, str]) -> Harness:
        return Harness(make_project(tmp_path / "project", *edits), tmp_path / "results")

    yield make


def test_a_hook_makes_a_function_return(trials: dict[str, dict[str, Any]]) -> None:
    record = trials["buggy"]
    hook, fields = record["settings"]["hook-refuses"], record["workload_fields"]
    assert record["verdict"] == "reproduced"
    assert (hook["mechanism"], hook["point"], hook["setting"]) == (
        "hook",
        "mkdir",
        "25%return(-28)",
    )
    assert (hook["before"], hook["after"]) == ("off", "25%return(-28)")
    assert fields["errno"] == 28
    # the hook counts what the workload saw, and looked at every call
    assert hook["counters"]["fired"] == fields["refused"]
    assert hook["counters"]["evaluated"] >= fields["calls"] == 200
    assert 20 <= fields["refused"] <= 85  # 50 expected; 5 standard deviations are 31


def test_without_a_setting_nothing_fails(trials: dict[str, dict[str, Any]]) -> None:
    record = trials["fixed"]
    assert (record["verdict"], record["settings"]) == ("survived", {})
    assert record["workload_fields"]["refused"] == 0


def test_hooks_sleep_delay_and_print(trials: dict[str, dict[str, Any]]) -> None:
    record = trials["sleeping"]
    settings, fields = record["settings"], record["workload_fields"]
    assert fields["longest_ms"] >= 40
    # a chain in which every term is used up reads off
    assert settings["hook-sleeps"]["after"] == "off"
    assert settings["hook-sleeps"]["counters"]["fired"] == 6
    assert settings["hook-sleeps"]["counters"]["spun"] == 0


def test_a_swap_in_sleeps_and_what_must_not_sleep_spins(trials: dict[str, dict[str, Any]]) -> None:
    settings, fields = trials["sleeping"]["settings"], trials["sleeping"]["workload_fields"]
    assert fields["longest_swap_ms"] >= 30
    assert settings["swap-in-sleeps"]["counters"]["fired"] >= 1
    assert settings["swap-in-sleeps"]["counters"]["spun"] == 0
    assert settings["swap-in-spins"]["counters"]["spun"] == 4


def test_fault_injection_fails_the_workload_only(trials: dict[str, dict[str, Any]]) -> None:
    record = trials["no-memory"]
    slab, fields = record["settings"]["no-memory"], record["workload_fields"]
    assert record["verdict"] == "reproduced"
    assert fields["errno"] == 12
    assert slab["before"].startswith("probability=0 ")
    assert slab["after"].startswith("probability=20 interval=1 ")
    assert slab["counters"]["fired"] >= fields["refused"] > 0


def test_a_function_fails_as_often_as_asked(trials: dict[str, dict[str, Any]]) -> None:
    record = trials["function"]
    assert record["workload_fields"]["refused"] == 7
    assert record["workload_fields"]["errno"] == 13
    assert record["settings"]["no-permission"]["counters"] == {"fired": 7}


def test_pages_fail_for_the_workload_only(trials: dict[str, dict[str, Any]]) -> None:
    record = trials["pages"]
    fields, counters = record["workload_fields"], record["settings"]["no-page"]["counters"]
    assert (record["verdict"], fields["errno"]) == ("reproduced", 12)
    # starting it takes some of the hundred pages that are let by, the pipes 200: 30 % of the rest
    assert 15 <= fields["refused"] <= counters["fired"] <= 120


@pytest.mark.parametrize(
    ("arm", "failpoint", "errno", "times"),
    [("futex", "no-futex", 14, 11), ("blocks", "bad-block", 5, 9)],
)
def test_futexes_and_requests_fail_as_often_as_asked(
    trials: dict[str, dict[str, Any]], arm: str, failpoint: str, errno: int, times: int
) -> None:
    record = trials[arm]
    fields = record["workload_fields"]
    assert (record["verdict"], fields["errno"], fields["refused"]) == ("reproduced", errno, times)
    assert record["settings"][failpoint]["counters"] == {"fired": times}


def test_gdb_makes_an_unhooked_function_return(trials: dict[str, dict[str, Any]]) -> None:
    record = trials["gdb"]
    forced, fields = record["settings"]["forced-error"], record["workload_fields"]
    assert record["verdict"] == "reproduced"
    assert (fields["refused"], fields["errno"]) == (5, 5)
    # two prints after the five returns, then the calls go through
    assert forced["counters"] == {"evaluated": 20, "fired": 7}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            'point = "mkdir"\ndo = "25',
            'point = "mkdri"\ndo = "25',
            "no hook 'mkdri'; similar: mkdir",
        ),
        (
            'point = "swapin_read"\ndo = "sleep(30)"',
            'point = "swapin_read"\ndo = "return(5)"',
            "does not take `return(5)`",
        ),
        ('point = "failslab"', 'point = "failslap"', "no fault injection 'failslap'"),
        ("__x64_sys_mkdir", "__x64_sys_mkdri", "no function marked ALLOW_ERROR_INJECTION"),
        ("7*return(-13)", "7*return(13)", "does not take"),
    ],
)
def test_what_the_kernel_does_not_take_ends_it_before_the_first_trial(
    trials: dict[str, dict[str, Any]],
    project: Callable[..., Harness],
    old: str,
    new: str,
    says: str,
) -> None:
    harness = project((old, new))
    done = harness.run("repro", "inside", "--arms", "all", "--trials", "1", seconds=300)
    assert done.status == 2
    assert says in done.err
    assert harness.finished() == {}
