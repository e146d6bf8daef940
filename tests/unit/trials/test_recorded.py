# SPDX-License-Identifier: BSD-2-Clause
"""What a campaign was asked for, out of its plan."""

from pathlib import Path

from running import PROJECT

from harness.plan.load import load_guest
from harness.plan.run import RunOrder, target_of
from harness.trials.prepare import Request
from harness.trials.recorded import recorded_request

PLAN = {
    "target": "linux-swapin-aba",
    "guest": "linux-x86_64",
    "with_failpoints": True,
    "chosen_arms": ["buggy-delay"],
}


def test_a_target_s_campaign() -> None:
    request = recorded_request(PLAN, PROJECT, Path("cache"))
    assert request.target.name == "linux-swapin-aba"
    assert request.arms == ("buggy-delay",)
    assert recorded_request(PLAN, PROJECT, Path("cache"), arms=["buggy"]).arms == ("buggy",)


def test_where_the_workload_was_compiled_stays() -> None:
    assert recorded_request(PLAN, PROJECT, Path("cache")).compile_where == "host"
    again = recorded_request(PLAN | {"compile": "guest"}, PROJECT, Path("cache"))
    assert again.compile_where == "guest"


def test_a_run_needs_no_file() -> None:
    guest = load_guest(PROJECT, "linux-x86_64")
    target = target_of(RunOrder(guest, command="true", trials=7))
    dumped = target.model.model_dump(mode="json", exclude_unset=True)
    request = recorded_request(PLAN | {"target": "run", "run": dumped}, PROJECT, Path("cache"))
    assert request.target.model == target.model


def test_guests_compile_by_default_and_leave_it_to_those_they_are_like() -> None:
    for name in ("linux-x86_64", "linux-arm64", "linux-ppc64le", "linux-x86_64-full"):
        guest = load_guest(PROJECT, name)
        request = Request(target_of(RunOrder(guest)), guest, PROJECT, Path("cache"))
        assert request.compile_where == "guest", name
        assert request.compiling_guest.compiler is not None
