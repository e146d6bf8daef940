# SPDX-License-Identifier: BSD-2-Clause
"""Failpoints inside a guest that does not answer while they are set."""

import asyncio

import pytest

from harness.console.guest_channel import CommandResult
from harness.errors import GuestError
from harness.failpoints.grammar import parse_setting
from harness.failpoints.inside import HookFailpoint
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
