# SPDX-License-Identifier: BSD-2-Clause
"""The chance that the fixed arm is silent by accident: known tables, and the level it promises."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, fisher_exact

from harness.stats.comparison import chance_of_silence

arm = st.integers(0, 30).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 8])
def test_perfect_separation_is_worst_at_one_half(n: int) -> None:
    # The only table as extreme has probability p^n (1 - p)^n, largest at p = 1/2.
    assert chance_of_silence(n, n, 0, n) == pytest.approx(0.25**n)


def test_published_example() -> None:
    # 74 of 117 against 31 of 63: the worked example of scipy's manual for boschloo_exact.
    assert chance_of_silence(74, 117, 31, 63) == pytest.approx(0.0355, abs=1e-4)


@pytest.mark.parametrize(
    ("a", "n", "b", "m"), [(0, 0, 0, 5), (5, 5, 0, 0), (0, 7, 0, 7), (7, 7, 7, 7), (0, 9, 3, 9)]
)
def test_nothing_tells_the_arms_apart(a: int, n: int, b: int, m: int) -> None:
    assert chance_of_silence(a, n, b, m) == 1.0


@settings(max_examples=50, deadline=None)
@given(arm, arm)
def test_is_a_probability_no_larger_than_fishers(
    buggy: tuple[int, int], fixed: tuple[int, int]
) -> None:
    (a, n), (b, m) = buggy, fixed
    found = chance_of_silence(a, n, b, m)
    assert 0 < found <= 1
    fisher = fisher_exact(np.array([[a, b], [n - a, m - b]]), alternative="greater").pvalue
    assert found <= fisher + 1e-9


@pytest.mark.parametrize(("n", "m"), [(6, 6), (9, 5), (12, 12)])
@pytest.mark.parametrize("level", [0.05, 0.01])
def test_errs_no_more_often_than_it_says(n: int, m: int, level: float) -> None:
    significant = np.array(
        [[chance_of_silence(a, n, b, m) <= level for b in range(m + 1)] for a in range(n + 1)]
    )
    assert significant.any()
    for p in np.linspace(0.01, 0.99, 99):
        tables = np.outer(binom.pmf(range(n + 1), n, p), binom.pmf(range(m + 1), m, p))
        assert tables[significant].sum() <= level + 1e-9


def test_large_arms_get_fishers_answer() -> None:
    table = np.array([[5, 0], [995, 1000]])
    fisher = fisher_exact(table, alternative="greater").pvalue
    assert chance_of_silence(5, 1000, 0, 1000) == pytest.approx(fisher)


@pytest.mark.parametrize(("a", "n", "b", "m"), [(4, 3, 0, 3), (-1, 3, 0, 3), (0, 3, 4, 3)])
def test_impossible_counts_are_refused(a: int, n: int, b: int, m: int) -> None:
    with pytest.raises(ValueError, match="0 <= events <= trials"):
        chance_of_silence(a, n, b, m)
