# SPDX-License-Identifier: BSD-2-Clause
"""What a kernel's debugger is to be asked: by the target, by --ddb, and what cannot be asked."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import ConfigurationError, HarnessError, UsageError
from harness.plan.load import load_guest, load_target
from harness.plan.target import DebuggerModel
from harness.trials import prepare
from harness.trials.prepare import Request, prepare_arms
from harness.trials.recorded import recorded_request

PROJECT = Path(__file__).parents[3]


def request(target: str, guest: str, folder: Path, *commands: str) -> Request:
    return Request(
        load_target(PROJECT, target), load_guest(PROJECT, guest), PROJECT, folder,
        debugger_commands=commands,
    )  # fmt: skip


def refused(of: Request) -> HarnessError:
    with pytest.raises(HarnessError) as caught:
        asyncio.run(prepare_arms(of, lambda _: pytest.fail("nothing may begin")))
    return caught.value


@pytest.mark.parametrize("target", ["freebsd-collapse", "freebsd-cow-valid"])
def test_the_targets_of_freebsd_ask_for_the_cpu_memory_processes_and_stacks(
    target: str, tmp_path: Path
) -> None:
    order = prepare._debugger(request(target, "freebsd-arm64", tmp_path))
    assert order is not None
    assert order.commands == ["show pcpu", "show page", "ps", "alltrace"]


def test_the_command_line_asks_in_place_of_the_target(tmp_path: Path) -> None:
    order = prepare._debugger(request("freebsd-collapse", "freebsd-amd64", tmp_path, "show lock"))
    assert order == DebuggerModel(commands=["show lock"])


def test_what_was_asked_is_asked_again_on_resume(tmp_path: Path) -> None:
    plan = {
        "target": "freebsd-collapse", "guest": "freebsd-amd64", "with_failpoints": True,
        "chosen_arms": [], "debugger_commands": ["ps"],
    }  # fmt: skip
    assert recorded_request(plan, PROJECT, tmp_path).debugger_commands == ("ps",)
    del plan["debugger_commands"]  # a campaign of before
    assert recorded_request(plan, PROJECT, tmp_path).debugger_commands == ()


@pytest.mark.parametrize(
    ("target", "guest", "command", "says"),
    [
        ("linux-swapin-aba", "linux-x86_64", "ps", "--ddb: linux has no debugger on its console"),
        ("freebsd-collapse", "freebsd-amd64", "x" * 119, "--ddb: ddb takes 118 bytes .* has 119"),
        ("freebsd-collapse", "freebsd-amd64", "ps\nreset", "--ddb: expected .* printable"),
        ("freebsd-collapse", "freebsd-amd64", "", "--ddb: expected commands"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_else(
    tmp_path: Path, target: str, guest: str, command: str, says: str
) -> None:
    error = refused(request(target, guest, tmp_path, command))
    assert isinstance(error, UsageError)
    with pytest.raises(UsageError, match=says):
        raise error


def test_a_target_that_asks_what_there_is_none_for_is_named(tmp_path: Path) -> None:
    of = request("linux-swapin-aba", "linux-x86_64", tmp_path)
    model = of.target.model.model_copy(update={"debugger": DebuggerModel(commands=["ps"])})
    error = refused(replace(of, target=replace(of.target, model=model)))
    assert isinstance(error, ConfigurationError)
    assert str(error) == f"{of.target.file}: [debugger]: linux has no debugger on its console"
