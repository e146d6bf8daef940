# SPDX-License-Identifier: BSD-2-Clause
"""The exact interval of a rate, against published values and its own guarantee."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from harness.stats.rates import Rate, rate

counts = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def test_no_trials_say_nothing() -> None:
    assert rate(0, 0) == Rate(0, 0, None, 0.0, 1.0, 0.95)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (0, 20, 0.0, 0.16843),  # upper bound 1 - (0.025)^(1/20)
        (20, 20, 0.83157, 1.0),
        (1, 10, 0.00253, 0.44502),  # Clopper and Pearson's chart, in any textbook's table
        (10, 20, 0.27196, 0.72804),
    ],
)
def test_known_intervals(successes: int, trials: int, low: float, high: float) -> None:
    found = rate(successes, trials)
    assert found.estimate == successes / trials
    assert found.low == pytest.approx(low, abs=5e-5)
    assert found.high == pytest.approx(high, abs=5e-5)


@given(counts, st.floats(0.5, 0.999))
def test_interval_holds_the_estimate_and_its_tails_are_exact(
    count: tuple[int, int], confidence: float
) -> None:
    successes, trials = count
    found = rate(successes, trials, confidence)
    assert found.estimate is not None
    assert 0 <= found.low <= found.estimate <= found.high <= 1
    tail = (1 - confidence) / 2
    if successes > 0:
        assert binom.sf(successes - 1, trials, found.low) == pytest.approx(tail, rel=1e-4)
    if successes < trials:
        assert binom.cdf(successes, trials, found.high) == pytest.approx(tail, rel=1e-4)


@pytest.mark.parametrize(("successes", "trials"), [(-1, 3), (4, 3), (0, -1)])
def test_impossible_counts_are_refused(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="0 <= successes <= trials"):
        rate(successes, trials)


@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.1, float("nan")])
def test_impossible_confidence_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        rate(1, 3, confidence)
