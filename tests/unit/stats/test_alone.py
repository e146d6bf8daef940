# SPDX-License-Identifier: BSD-2-Clause
"""The claim of a single arm."""

import pytest

from harness.stats.alone import decide_alone
from harness.stats.sequential import Claim, StopRule

RULE = StopRule(budget=4, every_trial=True)


@pytest.mark.parametrize(
    ("verdicts", "claim", "stop"),
    [
        (["survived"] * 3, Claim.CLEAN, False),
        (["survived"] * 4, Claim.CLEAN, True),
        (["survived", "void", "survived", "survived"], Claim.CLEAN, False),
        (["survived", "survived", "reproduced", "hung"], Claim.SEEN, True),
        (["survived", "survived", "survived", "hung"], Claim.INCONCLUSIVE, True),
        (["crashed"], Claim.INCONCLUSIVE, False),
    ],
)
def test_what_is_claimed(verdicts: list[str], claim: Claim, stop: bool) -> None:
    decision = decide_alone(RULE, verdicts)
    assert (decision.claim, decision.stop) == (claim, stop)
    assert decision.trials == len([v for v in verdicts if v != "void"])


def test_silence_is_told_with_how_much_it_says() -> None:
    # 1 - 0.025^(1/4): Clopper and Pearson, Biometrika 26 (1934)
    assert (
        "nothing was seen in 4 trials, rate [0.00, 0.60]"
        in decide_alone(RULE, ["survived"] * 4).reason
    )


@pytest.mark.parametrize("verdicts", [[], ["void"] * 5])
def test_without_a_trial_that_counts_nothing_is_clean(verdicts: list[str]) -> None:
    decision = decide_alone(StopRule(budget=10, every_trial=True), verdicts)
    assert (decision.claim, decision.trials, decision.stop) == (Claim.INCONCLUSIVE, 0, False)
