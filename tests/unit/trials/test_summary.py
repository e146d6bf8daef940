# SPDX-License-Identifier: BSD-2-Clause
"""The summary follows from plan and ledger alone, and has the documented keys."""

import json
from dataclasses import asdict
from typing import Any

import pytest
from fakes import plan, record
from hypothesis import given
from hypothesis import strategies as st

from harness.stats.sequential import StopRule, blocks_of, decide
from harness.trials.ledger import Line
from harness.trials.record import counted_trials
from harness.trials.summary import summarise
from harness.trials.verdict import Verdict

ARM_KEYS = {
    "kernel", "trials", "reproduced", "crashed", "hung", "survived", "void", "symptoms",
    "orders_reached", "rate", "rate_low", "rate_high", "median_guest_seconds",
    "median_wall_seconds", "median_cpu_seconds", "accelerator",
}  # fmt: skip


def summary_of(lines: list[Line], rule: StopRule | None = None) -> dict[str, Any]:
    decision = decide(rule or StopRule(), blocks_of(counted_trials(lines)))
    return summarise(plan() | {"campaign": "c"}, lines, decision)


def line(*arguments: Any, **more: Any) -> Line:
    return asdict(record(*arguments, **more))


verdicts = st.sampled_from([str(verdict) for verdict in Verdict])


@given(st.lists(st.tuples(st.sampled_from(["buggy", "fixed", "control"]), verdicts), max_size=12))
def test_counts_add_up_and_voids_are_not_trials(trials: list[tuple[str, str]]) -> None:
    lines = [line(arm, n, n, verdict) for n, (arm, verdict) in enumerate(trials)]
    summary = summary_of(lines)
    json.dumps(summary, allow_nan=False)
    for name, arm in summary["arms"].items():
        assert arm.keys() >= ARM_KEYS
        mine = [verdict for arm_name, verdict in trials if arm_name == name]
        for verdict in Verdict:
            assert arm[verdict] == mine.count(verdict)
        assert arm["trials"] == len(mine) - mine.count("void")
        assert arm["symptoms"] == ({"lost update": arm["reproduced"]} if arm["reproduced"] else {})
        assert 0 <= arm["rate_low"] <= arm["rate_high"] <= 1
        if arm["trials"]:
            assert arm["rate"] == arm["reproduced"] / arm["trials"]
        else:
            assert arm["rate"] is None


def test_the_keys_of_the_document() -> None:
    summary = summary_of([line()])
    assert summary.keys() >= {
        "campaign", "target", "guest", "claim", "confidence", "arms", "failpoints", "complete",
    }  # fmt: skip
    assert summary["claim"] == "inconclusive"
    assert summary["failpoints"] == {"hold": {"name": "hold"}}


def test_a_claim_that_holds() -> None:
    lines = [
        line(arm, n + 1, n, "reproduced" if arm == "buggy" else "survived")
        for n in range(5)
        for arm in ("buggy", "fixed", "control")
    ]
    summary = summary_of(lines)
    assert (summary["claim"], summary["complete"]) == ("holds", True)
    assert summary["confidence"] == 1 - 0.5**5
    assert summary["unexpected"] == []
    assert summary["arms"]["buggy"]["median_cpu_seconds"] == 0.5
    assert summary["arms"]["fixed"]["median_cpu_seconds"] is None


@pytest.mark.parametrize(
    ("arm", "verdict", "expected"),
    [
        ("control", "survived", True),
        ("control", "reproduced", False),
        ("control", "crashed", False),
        ("control", "hung", False),
        ("control", "void", None),
        ("buggy", "reproduced", True),
        ("buggy", "survived", False),
        ("buggy", "crashed", False),
    ],
)
def test_whether_an_arm_did_as_expected(arm: str, verdict: str, expected: bool | None) -> None:
    summary = summary_of([line(arm, verdict=verdict)])
    assert summary["arms"][arm]["as_expected"] is expected
    assert (arm in summary["unexpected"]) == (expected is False)


def test_attempts_are_counted_apart_and_only_those_carried_out() -> None:
    lines = [
        line(number=1, verdict="reproduced", attempts=20, attempts_reproduced=19),
        line(number=2, block=1, verdict="survived", attempts=20, attempts_failed=5),
        line(number=3, block=1, verdict="void", attempts=20, attempts_reproduced=20),
    ]
    buggy = summary_of(lines)["arms"]["buggy"]
    assert buggy["trials"] == 2
    attempts = buggy["attempts"]
    assert (attempts["carried_out"], attempts["reproduced"], attempts["failed"]) == (35, 19, 5)
    assert attempts["rate_low"] <= attempts["rate"] <= attempts["rate_high"]
    assert summary_of([line()])["arms"]["buggy"]["attempts"] is None


def test_medians_are_censored_by_survivors() -> None:
    lines = [
        line(number=n + 1, block=n, verdict=verdict, cpu_seconds=seconds)
        for n, (verdict, seconds) in enumerate(
            [("reproduced", 1.0), ("survived", 10.0), ("survived", 10.0)]
        )
    ]
    assert summary_of(lines)["arms"]["buggy"]["median_cpu_seconds"] is None
    assert summary_of(lines[:1])["arms"]["buggy"]["median_cpu_seconds"] == 1.0
