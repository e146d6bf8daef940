# SPDX-License-Identifier: BSD-2-Clause
"""Failpoints inside a guest that does not answer while they are set."""

import asyncio

import pytest

from harness.console.guest_channel import CommandResult
from harness.errors import GuestError
from harness.failpoints.grammar import parse_setting
from harness.failpoints.inside import HookFailpoint, Reading, Shell
from harness.trials import inside
from harness.trials.inside import GuestSettings, rehearse


class Paused:
    """A guest whose shell runs into the pause that it has set itself."""

    async def run(self, command: str) -> CommandResult:
        await asyncio.Event().wait()
        raise AssertionError


def test_a_shell_that_is_held_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inside, "_SET_SECONDS", 0.02)
    points = [HookFailpoint("held", "open", parse_setting("pause"))]
    with pytest.raises(GuestError, match="were not set within"):
        asyncio.run(GuestSettings(points).set(Paused()))
    with pytest.raises(GuestError, match="were not set within"):
        asyncio.run(rehearse(points, Paused()))


class Recorded(HookFailpoint):
    """A failpoint that only notes what is done to it."""

    async def set(self, shell: Shell) -> Reading:
        return Reading("off")

    async def read(self, shell: Shell) -> Reading:
        return Reading("pause", {"paused_threads": 2}, status="who is paused")

    async def reset(self, shell: Shell, before: Reading) -> None:
        assert isinstance(shell, Touched)
        shell.reset.append(self.name)


class Touched(Paused):
    """A guest, and which failpoints were put back in it."""

    def __init__(self) -> None:
        self.reset: list[str] = []


@pytest.mark.parametrize("put_back", [True, False])
def test_who_is_held_stays_so_where_a_debugger_is_to_be_asked(put_back: bool) -> None:
    guest = Touched()
    settings = GuestSettings([Recorded("held", "open", parse_setting("pause"))])

    async def trial() -> None:
        await settings.set(guest)
        await settings.finish(guest, put_back=put_back)

    asyncio.run(trial())
    assert guest.reset == (["held"] if put_back else [])
    record = settings.record()["held"]
    assert (record.before, record.after, record.counters, record.status) == (
        "off", "pause", {"paused_threads": 2}, "who is paused",
    )  # fmt: skip
