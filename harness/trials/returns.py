# SPDX-License-Identifier: BSD-2-Clause
"""A target's forced return values for one trial: breakpoints at functions, by QEMU's gdb server."""

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from qemu.qmp import QMPError

from harness.errors import ConfigurationError, GuestError
from harness.failpoints.evaluate import Evaluator
from harness.failpoints.grammar import Action, Setting, parse_setting
from harness.places.resolve import ResolvedPlace
from harness.places.syntax import Entry, FunctionPlace
from harness.plan.rules import FailpointModel
from harness.qemu.gdb import GdbClient, attached, force_return
from harness.qemu.guest import RunningGuest
from harness.trials.inside import SettingRecord

_ATTACH_SECONDS = 20.0
_MAX_EVENTS = 1000


@dataclass(frozen=True)
class ForcedReturn:
    """A failpoint of the mechanism `gdb`: a function's first instruction, and what it returns."""

    name: str
    place: str
    address: int
    setting: Setting


@dataclass(frozen=True)
class ReturnEvent:
    """A call that a term met: the value it returned at once, None for a print."""

    host_ns: int
    name: str
    vcpu: int
    value: int | None


def forced_returns(
    failpoints: Sequence[FailpointModel], places: Mapping[str, ResolvedPlace]
) -> tuple[ForcedReturn, ...]:
    """The failpoints with their addresses.

    Raises ConfigurationError where a place is not a function's beginning: only there it is known
    where the return address is.
    """
    found = []
    for model in failpoints:
        assert model.place is not None  # FailpointModel sees to it
        place = places[model.place]
        at = place.place
        entry = isinstance(at, FunctionPlace) and isinstance(at.position, Entry)
        if not entry or len(place.addresses) != 1:
            raise ConfigurationError(
                f"failpoint {model.name}: a value is returned at a function's beginning; the place "
                f"{model.place} is {at}: name the function alone"
            )
        found.append(
            ForcedReturn(model.name, model.place, place.addresses[0], parse_setting(model.do))
        )
    return tuple(found)


@dataclass
class _Point:
    forced: ForcedReturn
    evaluator: Evaluator


@dataclass
class ForcedReturns:
    """The breakpoints of one trial. Without any it does nothing, and no gdb server is started."""

    forced: tuple[ForcedReturn, ...]
    arch: str
    seed: int
    events: list[ReturnEvent] = field(default_factory=list)
    failure: str | None = None
    """Why it ended by itself, if it did."""

    def __post_init__(self) -> None:
        self._points: dict[int, list[_Point]] = {}
        for index, forced in enumerate(self.forced):
            point = _Point(forced, Evaluator(forced.setting, self.seed * 1000 + index))
            self._points.setdefault(forced.address, []).append(point)
        self._task: asyncio.Task[None] | None = None
        self._set = asyncio.Event()
        self._end = asyncio.Event()

    async def start(self, guest: RunningGuest) -> None:
        """Sets the breakpoints; calls are answered from now on. Raises GuestError."""
        if not self.forced:
            return
        self._task = asyncio.create_task(self._serve(guest))
        ready = asyncio.create_task(self._set.wait())
        try:
            await asyncio.wait(
                {ready, self._task},
                timeout=_ATTACH_SECONDS,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            ready.cancel()
        if not self._set.is_set():
            raise GuestError(self.failure or "QEMU's gdb server did not answer in time")

    async def end(self) -> None:
        """Removes the breakpoints and lets the guest run."""
        self._end.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=_ATTACH_SECONDS)
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _serve(self, guest: RunningGuest) -> None:
        try:
            async with attached(guest.monitor, self.arch) as client:
                for address in self._points:
                    await client.set_breakpoint(address)
                while not self._end.is_set():
                    await client.resume()
                    self._set.set()
                    await self._answer_one(client)
                for address in self._points:
                    await client.clear_breakpoint(address)
        except (GuestError, ConfigurationError, QMPError, EOFError, OSError) as error:
            if not self._end.is_set():
                self.failure = f"the gdb server: {error}"
        except Exception as error:
            # a guest that stays stopped for it shows no life, which is not its own doing
            self.failure = f"the gdb server: {error!r}"

    async def _answer_one(self, client: GdbClient) -> None:
        """Waits for the next call, or the end; the guest is stopped on return."""
        stopping = asyncio.create_task(client.wait_stop(float("inf")))
        ending = asyncio.create_task(self._end.wait())
        try:
            await asyncio.wait({stopping, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not stopping.done():
                stopping.cancel()
                await asyncio.gather(stopping, return_exceptions=True)
                await client.interrupt()
                return
            stop = stopping.result()
        finally:
            ending.cancel()
            stopping.cancel()
            await asyncio.gather(stopping, ending, return_exceptions=True)
        if stop.thread is not None and stop.at_breakpoint:
            await self._on_call(client, stop.thread)

    async def _on_call(self, client: GdbClient, thread: str) -> None:
        address = (await client.registers(thread)).pc
        vcpu = _vcpu(thread)
        for point in self._points.get(address, ()):
            for term in point.evaluator.terms_at(vcpu):
                value = (term.argument or 0) if term.action is Action.RETURN else None
                if term.action is not Action.OFF and len(self.events) < _MAX_EVENTS:
                    event = ReturnEvent(time.monotonic_ns(), point.forced.name, vcpu, value)
                    self.events.append(event)
                if value is not None:
                    await force_return(client, thread, value)
                    return
        if address in self._points:
            await client.step(thread)  # TCG steps over a breakpoint
            if (await client.registers(thread)).pc == address:  # KVM does not
                await client.clear_breakpoint(address)
                await client.step(thread)
                await client.set_breakpoint(address)

    def record(self) -> dict[str, SettingRecord]:
        """What each was set to, and how many calls it saw and answered or told of."""
        return {
            point.forced.name: SettingRecord(
                mechanism="gdb",
                point=point.forced.place,
                setting=str(point.forced.setting),
                counters={
                    "evaluated": point.evaluator.evaluated,
                    "fired": point.evaluator.fired,
                },
            )
            for points in self._points.values()
            for point in points
        }


def _vcpu(thread: str) -> int:
    """`p1.2` is the second virtual CPU, whose number is 1; numbers are hexadecimal."""
    return int(thread.rpartition(".")[2], 16) - 1
