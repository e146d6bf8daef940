# SPDX-License-Identifier: BSD-2-Clause
"""Events as moments of one timeline with the workload's marks."""

import json
from dataclasses import replace

from harness.failpoints.diagram import text_diagram
from harness.qemu.plugin import (
    Action,
    DelayRule,
    Event,
    EventKind,
    OrderRule,
    Outcome,
    PluginPlan,
    Point,
    Term,
)
from harness.qemu.plugin.timeline import WorkloadMark, attempts_of, merge

PLAN = PluginPlan(
    (Point("swap_in", (1,)), Point("flush", (2,)), Point("personality", (3,))),
    (
        OrderRule("order", "swap_in", "flush", 1000, times=7),
        DelayRule("delay", "flush", (Term(Action.DELAY, 5),)),
    ),
    marks=("personality",),
)
HELD = Event(
    kind=EventKind.HOLD,
    outcome=Outcome.REACHED,
    vcpu=0,
    point="swap_in",
    address=1,
    rule="order",
    term=0,
    attempt=3,
    start_ns=10_000_000,
    end_ns=12_500_000,
    value=8,
)
PASS = replace(
    HELD, kind=EventKind.PASS, outcome=Outcome.NONE, vcpu=1, point="flush", rule=None,
    start_ns=11_000_000, end_ns=11_000_000,
)  # fmt: skip
MARK = replace(
    PASS, kind=EventKind.MARK, point="personality", start_ns=9_000_000, end_ns=9_000_000, value=3
)


def test_held_seconds() -> None:
    assert HELD.held_s == 0.0025


def test_the_merged_timeline_as_text() -> None:
    marks = [WorkloadMark(13_000_000, "lost update"), WorkloadMark(11_500_000, "write", vcpu=1)]
    assert text_diagram(merge([HELD, PASS, MARK], marks, PLAN)) == (
        "        ms  vCPU 0                           vCPU 1\n"
        "            ------------                     ------------\n"
        "     0.000                                   • personality: attempt 3\n"
        "     1.000  ┌ held at swap_in until flush\n"
        "            │ x7 (order)\n"
        "     2.000  │                                • flush\n"
        "     2.500  │                                • write\n"
        "     3.500  └ released after 2.500 ms,\n"
        "              flush passed 8 times\n"
        "     4.000  workload: lost update\n"
    )


def test_a_time_out_is_told() -> None:
    late = replace(HELD, outcome=Outcome.TIMED_OUT, value=2)
    (moment,) = merge([late], [], PLAN)
    assert moment.kind == "timed-out"
    assert moment.end_text == "TIMED OUT after 2.500 ms, flush passed 2 times"


def test_a_delay_has_no_count() -> None:
    delay = replace(HELD, rule="delay", point="flush", outcome=Outcome.DELAYED)
    (moment,) = merge([delay], [], PLAN)
    assert moment.text == "held at flush (delay)"
    assert moment.end_text == "goes on after 2.500 ms"


def test_one_attempts_events() -> None:
    other = replace(HELD, attempt=4)
    assert attempts_of([HELD, other, MARK], 3) == [HELD, MARK]


def test_json() -> None:
    assert json.loads(json.dumps(HELD.as_dict())) == {
        "kind": "hold",
        "outcome": "reached",
        "vcpu": 0,
        "point": "swap_in",
        "address": "0x1",
        "rule": "order",
        "term": 0,
        "attempt": 3,
        "start_ns": 10_000_000,
        "end_ns": 12_500_000,
        "value": 8,
    }
