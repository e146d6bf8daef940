# SPDX-License-Identifier: BSD-2-Clause
"""The interleaving of one attempt as it really ran: plugin events and workload marks, drawn."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from harness.console.text import printable_text
from harness.failpoints.diagram import svg_diagram, text_diagram
from harness.places.resolve import ResolvedPlace
from harness.qemu.plugin import Event, OrderRule, PluginPlan
from harness.qemu.plugin.timeline import WorkloadMark, attempts_of, merge
from harness.trials.workload import WorkloadEvent

_TOLD = ("symptom", "attempt")


def write_interleaving(
    folder: Path,
    events: Sequence[Event],
    plan: PluginPlan,
    heard: Sequence[tuple[int, WorkloadEvent]],
    *,
    died: bool,
    places: Mapping[str, ResolvedPlace] = MappingProxyType({}),
) -> None:
    """Draws the first attempt that showed a symptom, else the first: interleaving.txt and .svg.

    `places` says where in the code the plan's points are, for the drawing's legend.

    Where the guest `died` of it, that is the last one begun, since it says nothing any more.

    `heard` is what the workload said, each with the host time (ns, CLOCK_MONOTONIC) of its
    arrival, which is some ms after it was said. Nothing is written where no failpoint acted.
    """
    attempt = max((event.attempt for event in events), default=1) if died else None
    attempt = attempt or _first_reproduced(heard)
    shown = attempts_of(events, attempt) or list(events[:40])
    if not shown:
        return
    marks = [
        WorkloadMark(time_ns, _text(event))
        for time_ns, event in _of_attempt(heard, attempt)
        if event.kind in _TOLD
    ]
    moments = merge(shown, marks, plan)
    names = {name for event in shown for name in _points(event, plan)}
    legend = [(name, _where(place)) for name, place in places.items() if name in names]
    (folder / "interleaving.txt").write_text(text_diagram(moments, legend))
    drawing = svg_diagram(moments, f"Attempt {attempt}", legend)
    (folder / "interleaving.svg").write_text(drawing)


def write_timeline(
    path: Path, events: Sequence[Event], heard: Sequence[tuple[int, WorkloadEvent]]
) -> None:
    """All that is known of a trial's order, a JSON object a line, in the order of time.

    `host_ns` is the host's CLOCK_MONOTONIC: of an event of the plugin (`by`: "failpoints") its
    beginning, of what the workload said (`by`: "workload") its arrival.
    """
    lines = [(event.start_ns, {"by": "failpoints"} | event.as_dict()) for event in events]
    for time_ns, said in heard:
        lines.append(
            (time_ns, {"by": "workload", "event": said.kind, "t": said.seconds} | said.fields)
        )
    lines.sort(key=lambda line: line[0])
    path.write_text("".join(json.dumps({"host_ns": at} | line) + "\n" for at, line in lines))


def _points(event: Event, plan: PluginPlan) -> list[str]:
    until = [
        rule.until for rule in plan.rules if isinstance(rule, OrderRule) and rule.name == event.rule
    ]
    return [event.point, *until]


def _where(place: ResolvedPlace) -> str:
    more = f" and {len(place.positions) - 1} more" if len(place.positions) > 1 else ""
    return printable_text(f"{place.place}  {place.positions[0]}{more}")


def _first_reproduced(heard: Sequence[tuple[int, WorkloadEvent]]) -> int:
    for _, event in heard:
        if event.kind == "attempt" and event.fields.get("outcome") == "reproduced":
            number = event.fields.get("n", 1)
            return number if isinstance(number, int) else 1
    return 1


def _of_attempt(
    heard: Sequence[tuple[int, WorkloadEvent]], attempt: int
) -> list[tuple[int, WorkloadEvent]]:
    """What was said after the attempt before, up to and with this attempt's own line."""
    found: list[tuple[int, WorkloadEvent]] = []
    for time_ns, event in heard:
        found.append((time_ns, event))
        if event.kind == "attempt":
            if event.fields.get("n") == attempt:
                return found
            found = []
    return found


def _text(event: WorkloadEvent) -> str:
    fields = ", ".join(f"{key} {value}" for key, value in event.fields.items())
    return printable_text(f"{event.kind}: {fields}")
