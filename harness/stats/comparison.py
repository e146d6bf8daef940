# SPDX-License-Identifier: BSD-2-Clause
"""The buggy arm against the fixed arm at one given look: is the fixed arm's silence chance?"""

import numpy as np
from scipy.stats import boschloo_exact, fisher_exact

# Boschloo's test visits every table of the two arms, once per nuisance value: quadratic in the
# arms' size. At this many tables it takes about 0.1 s.
_MOST_BOSCHLOO_TABLES = 201 * 201


def chance_of_silence(
    buggy_events: int, buggy_trials: int, fixed_events: int, fixed_trials: int
) -> float:
    """The probability that the fixed arm shows so few events by chance alone.

    In: events among independent trials of each arm. Out: the one-sided p-value, in (0, 1], of
    "both kernels have the same rate" against "the fixed kernel's rate is lower"; 1.0 when either
    arm is empty. It holds for one look at numbers of trials set beforehand; for a campaign that
    looks after every block use `harness.stats.sequential`.

    Boschloo's exact test (R. D. Boschloo, Statistica Neerlandica 24 (1970), 1-35): Fisher's
    p-value orders the tables, and the result is the worst case, over every common rate, of the
    probability of a table at least as extreme. Like Fisher's test it never errs more often than
    it says; unlike Fisher's it does not condition on the total number of events, and so is never
    weaker: 4 of 4 against 0 of 4 gives 0.0039 where Fisher gives 0.0143. Arms too large for its
    quadratic cost (more than 200 trials each) get Fisher's p-value, which is never smaller; the
    choice depends on the trials alone, never on what they showed.

    Raises ValueError unless 0 <= events <= trials in both arms.
    """
    for arm, events, trials in (
        ("buggy", buggy_events, buggy_trials),
        ("fixed", fixed_events, fixed_trials),
    ):
        if not 0 <= events <= trials:
            raise ValueError(f"{arm}: expected 0 <= events <= trials, found {events} of {trials}")
    if buggy_trials == 0 or fixed_trials == 0:
        return 1.0
    total = buggy_events + fixed_events
    if total in (0, buggy_trials + fixed_trials):
        return 1.0  # Every trial ended alike: nothing tells the arms apart.
    table = np.array(
        [
            [buggy_events, fixed_events],
            [buggy_trials - buggy_events, fixed_trials - fixed_events],
        ]
    )
    if (buggy_trials + 1) * (fixed_trials + 1) > _MOST_BOSCHLOO_TABLES:
        return min(1.0, float(fisher_exact(table, alternative="greater").pvalue))
    return min(1.0, float(boschloo_exact(table, alternative="greater").pvalue))
