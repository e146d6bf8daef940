# SPDX-License-Identifier: BSD-2-Clause
"""What the trials of a single arm say: how often its symptom was seen, compared with nothing."""

from collections.abc import Sequence

from harness.stats.rates import rate
from harness.stats.sequential import Claim, Decision, StopRule


def decide_alone(rule: StopRule, verdicts: Sequence[str]) -> Decision:
    """The claim of all trials so far; `verdicts` are the ledger's, voids among them.

    `seen` once the symptom was, `clean` while every trial survived, else `inconclusive`: something
    else went wrong, or no trial has counted. The campaign stops at `rule.budget` counted trials.
    Nothing is tested, so there is neither a p-value nor a confidence; the rate's interval says what
    can be said.
    """
    counted = [verdict for verdict in verdicts if verdict != "void"]
    events = counted.count("reproduced")
    survived = counted.count("survived")
    found = rate(events, len(counted), rule.confidence)
    interval = f"[{found.low:.2f}, {found.high:.2f}] with confidence {rule.confidence:g}"
    if events:
        claim, reason = Claim.SEEN, f"seen in {events} of {len(counted)} trials"
    elif not counted:
        claim, reason = Claim.INCONCLUSIVE, "no trial has counted"
    elif survived == len(counted):
        claim, reason = Claim.CLEAN, f"nothing was seen in {len(counted)} trials"
    else:
        others = len(counted) - survived
        claim = Claim.INCONCLUSIVE
        reason = f"another trouble than asked for in {others} of {len(counted)} trials"
    return Decision(
        claim=claim,
        stop=len(counted) >= rule.budget,
        confidence=0.0,
        p_value=1.0,
        alpha_spent=0.0,
        trials=len(counted),
        events=events,
        reason=f"{reason}, rate {interval}",
    )
