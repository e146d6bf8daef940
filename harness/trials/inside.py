# SPDX-License-Identifier: BSD-2-Clause
"""A target's failpoints that the guest's own kernel carries out, for one trial."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from harness.errors import ConfigurationError, GuestError
from harness.failpoints.grammar import parse_setting
from harness.failpoints.inside import (
    FaultInjection,
    GuestFailpoint,
    HookFailpoint,
    Reading,
    Shell,
    SysctlFailpoint,
)
from harness.plan.rules import FailpointModel
from harness.plan.target import ArmModel, TargetModel

_SECONDS = 10.0
"""What reading all failpoints of a guest may take at a trial's end."""
_SET_SECONDS = 60.0
"""What setting them all may take, under TCG on a busy host, too."""


@dataclass(frozen=True)
class SettingRecord:
    """One failpoint that is set by name: what was asked for, and what there was to see of it.

    `before` and `after` are the kernel's words, None where it could not be asked; `counters` are
    those that the mechanism has (docs/failpoints.md), `status` is what else the kernel says of it.
    """

    mechanism: str
    point: str
    setting: str
    before: str | None = None
    after: str | None = None
    counters: dict[str, int] = field(default_factory=dict)
    note: str = ""
    status: str = ""


def guest_failpoints(target: TargetModel, arm: ArmModel) -> tuple[GuestFailpoint, ...]:
    """The arm's failpoints inside the guest, in the order in which `use` lists them.

    Raises ConfigurationError for a setting that its mechanism cannot carry out, and for two that
    are one and the same in the kernel.
    """
    by_name = {rule.name: rule for rule in target.failpoint}
    found: list[GuestFailpoint] = []
    taken: dict[tuple[str, str], str] = {}
    for name in arm.use:
        model = by_name.get(name)
        if model is None or model.point is None:
            continue
        point = model.point.partition(":")[0] if model.mechanism == "debugfs" else model.point
        other = taken.setdefault((model.mechanism, point), name)
        if other != name:
            raise ConfigurationError(
                f"arm {arm.name}: {other} and {name} are both settings of {point}, which has one "
                "at a time: use one of them"
            )
        found.append(_guest_failpoint(model, model.point))
    return tuple(found)


def _guest_failpoint(model: FailpointModel, point: str) -> GuestFailpoint:
    setting = parse_setting(model.do)
    if model.mechanism == "hook":
        return HookFailpoint(model.name, point, setting)
    if model.mechanism == "sysctl":
        return SysctlFailpoint(model.name, point, setting)
    return FaultInjection(
        model.name, point, setting, model.knobs, model.only_workload, tuple(model.devices)
    )


class GuestSettings:
    """The failpoints inside one trial's guest."""

    def __init__(self, failpoints: Sequence[GuestFailpoint]) -> None:
        self._failpoints = tuple(failpoints)
        self._before: dict[str, Reading] = {}
        self._after: dict[str, Reading] = {}
        self._note = ""

    async def set(self, shell: Shell) -> None:
        """Sets them all, each read back.

        Raises ConfigurationError where the kernel has no such failpoint or refuses the setting,
        GuestError where the guest does not answer.
        """
        async with _time_to_set():
            for failpoint in self._failpoints:
                self._before[failpoint.name] = await failpoint.set(shell)

    def workload_command(self, command: str) -> str:
        """The workload's command as the failpoints need it."""
        for failpoint in self._failpoints:
            command = failpoint.workload_command(command)
        return command

    async def finish(self, shell: Shell, *, put_back: bool = True) -> None:
        """Reads them all and puts them back, as far as the guest still answers.

        Where they are not put back, who is held by them is still to be looked at.
        """
        try:
            async with asyncio.timeout(_SECONDS):
                for failpoint in self._failpoints:
                    if failpoint.name in self._before:
                        self._after[failpoint.name] = await failpoint.read(shell)
                        if put_back:
                            await failpoint.reset(shell, self._before[failpoint.name])
        except TimeoutError:
            self._note = f"the guest did not answer within {_SECONDS:g} s"
        except (GuestError, ConfigurationError, ValueError) as error:
            self._note = str(error)

    def record(self) -> dict[str, SettingRecord]:
        """What each was set to, and what was read."""
        return {failpoint.name: self._record(failpoint) for failpoint in self._failpoints}

    def _record(self, failpoint: GuestFailpoint) -> SettingRecord:
        before, after = self._before.get(failpoint.name), self._after.get(failpoint.name)
        return SettingRecord(
            mechanism=failpoint.mechanism,
            point=failpoint.point,
            setting=str(failpoint.setting),
            before=before.setting if before else None,
            after=after.setting if after else None,
            counters=after.counters if after else {},
            note="" if after else self._note,
            status=after.status if after else "",
        )


async def rehearse(failpoints: Sequence[GuestFailpoint], shell: Shell) -> None:
    """Sets and resets them in a guest that no trial runs in. Raises as `set` does."""
    async with _time_to_set():
        for failpoint in failpoints:
            before = await failpoint.set(shell)
            await failpoint.reset(shell, before)


@asynccontextmanager
async def _time_to_set() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(_SET_SECONDS):
            yield
    except TimeoutError as error:
        raise GuestError(
            f"the failpoints inside the guest were not set within {_SET_SECONDS:g} s: a pause or "
            "long hold that the guest's shell runs into stops who sets them; limit it by [pid N], "
            "a count or a percentage"
        ) from error
