# SPDX-License-Identifier: BSD-2-Clause
"""The interleaving of one attempt as it really ran: plugin events and workload marks, drawn."""

from collections.abc import Sequence
from pathlib import Path

from harness.console.text import printable_text
from harness.failpoints.diagram import svg_diagram, text_diagram
from harness.qemu.plugin import Event, PluginPlan
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
) -> None:
    """Draws the first attempt that showed a symptom, else the first: interleaving.txt and .svg.

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
    (folder / "interleaving.txt").write_text(text_diagram(moments))
    (folder / "interleaving.svg").write_text(svg_diagram(moments, title=f"Attempt {attempt}"))


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
