# SPDX-License-Identifier: BSD-2-Clause
"""The plugin's events: read from the ring, named, and merged with the workload's own marks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from harness.failpoints.diagram import Moment
from harness.qemu.plugin import layout
from harness.qemu.plugin.plan import OrderRule, PluginPlan


class EventKind(IntEnum):
    """What an event tells of."""

    HOLD = layout.EVENT_HOLD
    MARK = layout.EVENT_MARK
    PASS = layout.EVENT_PASS
    PRINT = layout.EVENT_PRINT


class Outcome(IntEnum):
    """How a hold ended; NONE for other kinds of events."""

    NONE = layout.NONE
    REACHED = layout.REACHED
    TIMED_OUT = layout.TIMED_OUT
    CANCELLED = layout.CANCELLED
    DELAYED = layout.DELAYED


@dataclass(frozen=True)
class Event:
    """One event of the plugin.

    `attempt` is the number of marks since the start when the vCPU came to the point. `start_ns`
    and `end_ns` are nanoseconds of the host's CLOCK_MONOTONIC (time.monotonic_ns()), equal unless
    it is a hold.
    `value` is what an order had counted when its hold ended, or a mark's new attempt.
    """

    kind: EventKind
    outcome: Outcome
    vcpu: int
    point: str
    address: int
    rule: str | None
    term: int
    attempt: int
    start_ns: int
    end_ns: int
    value: int

    @property
    def held_s(self) -> float:
        """For how long the vCPU was held, in seconds."""
        return (self.end_ns - self.start_ns) / 1e9

    def as_dict(self) -> dict[str, Any]:
        """The event for JSON; kinds and outcomes are lower-case words, the address a string."""
        return {
            **vars(self),
            "kind": self.kind.name.lower(),
            "outcome": self.outcome.name.lower(),
            "address": hex(self.address),
        }


@dataclass(frozen=True)
class WorkloadMark:
    """Something that the workload said, at a host time (CLOCK_MONOTONIC), on a vCPU if known."""

    time_ns: int
    text: str
    vcpu: int | None = None


def decode_event(raw: bytes, plan: PluginPlan) -> tuple[int, Event]:
    """An event's sequence word (twice its ticket, plus 2), and the event, from its 64 bytes."""
    sequence, what, where, attempt, start_ns, end_ns, address, value = layout.EVENT.unpack(raw)
    rule, point = where & 0xFFFFFFFF, where >> 32
    return sequence, Event(
        kind=EventKind(what & 0xFF),
        outcome=Outcome(what >> 8 & 0xFF),
        vcpu=what >> 32,
        point=plan.points[point].name,
        address=address,
        rule=None if rule == layout.NO_RULE else plan.rules[rule].name,
        term=what >> 16 & 0xFFFF,
        attempt=attempt,
        start_ns=start_ns,
        end_ns=end_ns,
        value=value,
    )


def merge(events: Iterable[Event], marks: Iterable[WorkloadMark], plan: PluginPlan) -> list[Moment]:
    """One timeline of the plugin's events and the workload's marks, sorted by their beginnings.

    Columns are named after the vCPUs; a mark without a vCPU is in the column "workload".
    """
    rules = {rule.name: rule for rule in plan.rules}
    moments = [_moment(event, rules) for event in events]
    for mark in marks:
        column = "workload" if mark.vcpu is None else vcpu_column(mark.vcpu)
        moments.append(Moment(column, mark.time_ns, mark.time_ns, mark.text, kind="workload"))
    return sorted(moments, key=lambda moment: (moment.start_ns, moment.end_ns))


def vcpu_column(vcpu: int) -> str:
    """The name of a vCPU's column."""
    return f"vCPU {vcpu}"


def attempts_of(events: Sequence[Event], attempt: int) -> list[Event]:
    """The events of one attempt, its mark included."""
    return [event for event in events if event.attempt == attempt]


_HOLD_ENDS = {
    Outcome.REACHED: "released",
    Outcome.TIMED_OUT: "TIMED OUT",
    Outcome.CANCELLED: "cancelled",
    Outcome.DELAYED: "goes on",
    Outcome.NONE: "goes on",
}


def _moment(event: Event, rules: dict[str, Any]) -> Moment:
    column = vcpu_column(event.vcpu)
    if event.kind is EventKind.HOLD:
        end = f"{_HOLD_ENDS[event.outcome]} after {event.held_s * 1e3:.3f} ms"
        rule = rules.get(event.rule or "")
        text = f"held at {event.point}"
        if isinstance(rule, OrderRule):
            text += f" until {rule.until}{_times(rule.times)}"
            if event.outcome is not Outcome.REACHED or event.value != rule.times:
                end += f", {rule.until} {_passed(event.value)}"
        text += f" ({event.rule})"
        kind = "held" if event.outcome is not Outcome.TIMED_OUT else "timed-out"
        return Moment(column, event.start_ns, event.end_ns, text, kind=kind, end_text=end)
    if event.kind is EventKind.MARK:
        text = f"{event.point}: attempt {event.value}"
        return Moment(column, event.start_ns, event.end_ns, text, kind="mark")
    text = event.point if event.kind is EventKind.PASS else f"{event.rule} at {event.point}"
    return Moment(column, event.start_ns, event.end_ns, text, kind="pass")


def _times(number: int) -> str:
    return f" x{number}" if number != 1 else ""


def _passed(number: int) -> str:
    return f"passed {number} time{'s' * (number != 1)}"
