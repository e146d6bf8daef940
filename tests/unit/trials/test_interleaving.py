# SPDX-License-Identifier: BSD-2-Clause
"""What a trial leaves of its order: a drawing of one attempt, and one timeline of all."""

import json
from pathlib import Path

from harness.places.resolve import ResolvedPlace
from harness.places.syntax import parse_place
from harness.qemu.plugin import Event, EventKind, OrderRule, Outcome, PluginPlan, Point
from harness.trials.interleaving import write_interleaving, write_timeline
from harness.trials.workload import WorkloadEvent

PLAN = PluginPlan(
    (Point("read", (0x1000,)), Point("flush", (0x2000,)), Point("elsewhere", (0x3000,))),
    (OrderRule("order", "read", "flush", 1000),),
)
HELD = Event(
    kind=EventKind.HOLD, outcome=Outcome.REACHED, vcpu=0, point="read", address=0x1000,
    rule="order", term=0, attempt=2, start_ns=5_000_000, end_ns=7_000_000, value=1,
)  # fmt: skip
HEARD = [
    (1_000_000, WorkloadEvent("attempt", 0.1, {"n": 1, "outcome": "survived"})),
    (8_000_000, WorkloadEvent("symptom", 0.2, {"name": "lost"})),
    (9_000_000, WorkloadEvent("attempt", 0.3, {"n": 2, "outcome": "reproduced"})),
]


def place(text: str, position: str) -> ResolvedPlace:
    return ResolvedPlace(parse_place(text), (1,), "f", (0,), (position,), "a kernel", ())


PLACES = {
    "read": place("do_swap_page:after(swap_readpage)", "do_swap_page+0x496"),
    "flush": place("flush_tlb_page", "flush_tlb_page+0x0"),
    "elsewhere": place("other", "other+0x0"),
}


def test_the_attempt_with_the_symptom_is_drawn_with_its_places(tmp_path: Path) -> None:
    write_interleaving(tmp_path, [HELD], PLAN, HEARD, died=False, places=PLACES)
    text = (tmp_path / "interleaving.txt").read_text()
    assert "workload: symptom: name lost" in text
    assert "outcome survived" not in text
    assert "read   do_swap_page:after(swap_readpage)  do_swap_page+0x496\n" in text
    assert "flush  flush_tlb_page" in text
    assert "elsewhere" not in text
    assert "flush_tlb_page" in (tmp_path / "interleaving.svg").read_text()


def test_the_timeline_has_both_in_the_order_of_time(tmp_path: Path) -> None:
    write_timeline(tmp_path / "timeline.jsonl", [HELD], HEARD)
    lines = [json.loads(line) for line in (tmp_path / "timeline.jsonl").read_text().splitlines()]
    assert [(line["host_ns"], line["by"]) for line in lines] == [
        (1_000_000, "workload"), (5_000_000, "failpoints"), (8_000_000, "workload"),
        (9_000_000, "workload"),
    ]  # fmt: skip
    assert lines[1]["rule"] == "order" and lines[2]["event"] == "symptom"
