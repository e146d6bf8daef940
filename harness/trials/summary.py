# SPDX-License-Identifier: BSD-2-Clause
"""A campaign's summary, derived from its plan and ledger alone. docs/results.md has the keys."""

from collections import Counter
from typing import Any

from harness.stats.clusters import TrialAttempts, clustered_rate
from harness.stats.rates import rate
from harness.stats.sequential import Decision
from harness.stats.survival import TimeToEvent, median
from harness.trials.ledger import Line
from harness.trials.verdict import Verdict

_CLOCKS = ("guest_seconds", "wall_seconds", "cpu_seconds")


def summarise(plan: dict[str, Any], lines: list[Line], decision: Decision) -> dict[str, Any]:
    """The document that `--json` prints and summary.json holds."""
    arms = {
        name: summarise_arm(arm, [line for line in lines if line["arm"] == name], plan)
        for name, arm in plan["arms"].items()
    }
    return {
        "campaign": plan["campaign"],
        "target": plan["target"],
        "guest": plan["guest"],
        "claim": str(decision.claim),
        "confidence": decision.confidence,
        "reason": decision.reason,
        "asked_confidence": plan["confidence"],
        "complete": decision.stop,
        "arms": arms,
        "unexpected": [name for name, arm in arms.items() if arm["as_expected"] is False],
        "failpoints": plan["failpoints"],
    }


def summarise_arm(arm: dict[str, Any], lines: list[Line], plan: dict[str, Any]) -> dict[str, Any]:
    """Counts, rate with its exact interval, and median times of one arm."""
    counted = [line for line in lines if line["verdict"] != Verdict.VOID]
    verdicts = Counter(line["verdict"] for line in lines)
    reproduced = verdicts[Verdict.REPRODUCED]
    found = rate(reproduced, len(counted), plan["confidence"])
    return {
        "kernel": arm["kernel"],
        "trials": len(counted),
        **{str(verdict): verdicts[verdict] for verdict in Verdict},
        "symptoms": dict(
            Counter(line["symptoms"][0]["name"] for line in counted if line["symptoms"])
        ),
        "orders_reached": sum(bool(line["orders_reached"]) for line in counted),
        "rate": found.estimate,
        "rate_low": found.low,
        "rate_high": found.high,
        **{f"median_{clock}": _median(counted, clock) for clock in _CLOCKS},
        "accelerator": plan["accelerator"],
        "attempts": _attempts(counted, plan["confidence"]),
        "expect": arm["expect"],
        "as_expected": _as_expected(arm["expect"], verdicts, len(counted)),
    }


def _median(lines: list[Line], clock: str) -> float | None:
    """Median time to the symptom, trials without it censored (Kaplan-Meier)."""
    return median(
        TimeToEvent(seconds, line["verdict"] == Verdict.REPRODUCED)
        for line in lines
        if (seconds := line[clock]) is not None
    )


def _attempts(lines: list[Line], confidence: float) -> dict[str, Any] | None:
    trials = [
        TrialAttempts(line["attempts_reproduced"], line["attempts"] - line["attempts_failed"])
        for line in lines
        if line["attempts"] > line["attempts_failed"]
    ]
    if not trials:
        return None
    found = clustered_rate(trials, confidence)
    return {
        "carried_out": sum(trial.attempts for trial in trials),
        "reproduced": sum(trial.hits for trial in trials),
        "failed": sum(line["attempts_failed"] for line in lines),
        "rate": found.estimate,
        "rate_low": found.low,
        "rate_high": found.high,
    }


def _as_expected(expect: str, verdicts: Counter[str], trials: int) -> bool | None:
    """Whether the arm did what its target says; None before it has run or if it says nothing."""
    if not trials or expect == "either":
        return None
    if expect == "reproduced":
        return verdicts[Verdict.REPRODUCED] > 0
    return verdicts[Verdict.SURVIVED] == trials
