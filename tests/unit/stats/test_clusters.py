# SPDX-License-Identifier: BSD-2-Clause
"""Attempt rates: independent attempts cost nothing, like ones are not taken for evidence."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.stats.clusters import TrialAttempts, clustered_rate
from harness.stats.rates import rate

trial = st.integers(0, 60).flatmap(
    lambda attempts: st.builds(TrialAttempts, st.integers(0, attempts), st.just(attempts))
)


def test_nothing_tried() -> None:
    for trials in ([], [TrialAttempts(0, 0)]):
        found = clustered_rate(trials)
        assert (found.estimate, found.low, found.high, found.trials) == (None, 0.0, 1.0, 0)


@pytest.mark.parametrize(("hits", "expected"), [(25, 20), (0, 0)])
def test_attempts_all_alike_count_as_one_for_each_trial(hits: int, expected: int) -> None:
    found = clustered_rate([TrialAttempts(hits, 25)] * 20)
    exact = rate(expected, 20)
    assert found.estimate == exact.estimate
    assert (found.low, found.high) == (pytest.approx(exact.low), pytest.approx(exact.high))
    assert found.effective_attempts == 20


def test_one_trial_counts_as_one_attempt() -> None:
    found = clustered_rate([TrialAttempts(30, 1000)])
    assert found.effective_attempts == 1
    assert found.high > 0.97


def test_trials_that_are_all_or_nothing_tell_no_more_than_their_number() -> None:
    found = clustered_rate([TrialAttempts(50, 50)] * 10 + [TrialAttempts(0, 50)] * 10)
    exact = rate(10, 20)
    assert 15 < found.effective_attempts < 20
    assert exact.low - 0.03 < found.low < exact.low
    assert exact.high < found.high < exact.high + 0.03


def test_a_spread_seen_in_few_trials_is_not_trusted() -> None:
    found = clustered_rate([TrialAttempts(25, 25)] * 16 + [TrialAttempts(24, 25)] * 4)
    assert found.effective_attempts == 20
    assert clustered_rate([TrialAttempts(24, 25)] * 20).effective_attempts > 400


def test_independent_attempts_lose_only_the_correction_for_few_trials() -> None:
    random = np.random.default_rng(5)
    hits = random.binomial(50, 0.2, size=40)
    found = clustered_rate([TrialAttempts(int(k), 50) for k in hits])
    assert 1000 < found.effective_attempts < 2000
    exact = rate(int(hits.sum()), 2000)
    assert found.high - found.low < 1.5 * (exact.high - exact.low)


@pytest.mark.parametrize("spread", [0.0, 0.2, 0.6])
@pytest.mark.parametrize("mean", [0.1, 0.5, 0.96])
def test_interval_covers_the_true_rate(mean: float, spread: float) -> None:
    # Beta-binomial trials with within-trial correlation `spread` and unequal attempts.
    random = np.random.default_rng(11)
    covered = 0
    runs = 300
    for _ in range(runs):
        attempts = random.integers(10, 40, size=20)
        scale = (1 - spread) / spread if spread else np.inf
        rates = (
            random.beta(mean * scale, (1 - mean) * scale, size=20) if spread else np.full(20, mean)
        )
        hits = random.binomial(attempts, rates)
        found = clustered_rate(
            [TrialAttempts(int(k), int(n)) for k, n in zip(hits, attempts, strict=True)]
        )
        covered += found.low <= mean <= found.high
    assert covered / runs > 0.92


@given(st.lists(trial, max_size=20), st.floats(0.5, 0.999))
def test_the_interval_holds_the_estimate(trials: list[TrialAttempts], confidence: float) -> None:
    found = clustered_rate(trials, confidence)
    assert found.attempts == sum(one.attempts for one in trials)
    assert found.effective_attempts <= max(found.attempts, found.trials)
    if found.estimate is not None:
        assert 0 <= found.low <= found.estimate <= found.high <= 1
        assert found.effective_attempts >= 1


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="0 <= hits <= attempts"):
        clustered_rate([TrialAttempts(3, 2)])
