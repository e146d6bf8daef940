# SPDX-License-Identifier: BSD-2-Clause
"""The arms' order: balanced in every block, fair, and the same for ever for a seed."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from harness.stats.schedule import block_order

names = st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=5, unique=True)


def test_the_order_of_a_seed_never_changes() -> None:
    # A recorded campaign is resumed by a later version: a change here breaks old ledgers.
    order = [arm for block in range(6) for arm in block_order(1, block, ["buggy", "fixed"])]
    assert order == [
        *("buggy", "fixed", "fixed", "buggy", "buggy", "fixed"),
        *("fixed", "buggy", "buggy", "fixed", "fixed", "buggy"),
    ]


@given(st.integers(), names, st.integers(0, 12))
def test_every_block_holds_every_arm_once(seed: int, arms: list[str], block: int) -> None:
    order = block_order(seed, block, arms)
    assert sorted(order) == sorted(arms)
    assert order == block_order(seed, block, arms)


def test_each_order_is_equally_likely() -> None:
    orders = Counter(block_order(7, block, ["a", "b", "c"]) for block in range(6000))
    assert len(orders) == 6
    assert chisquare(list(orders.values())).pvalue > 1e-3


def test_seeds_differ() -> None:
    arms = ["buggy", "fixed"]
    first = {tuple(block_order(seed, block, arms) for block in range(20)) for seed in range(50)}
    assert len(first) == 50


@pytest.mark.parametrize("arms", [[], ["buggy", "buggy"]])
def test_bad_arms_are_refused(arms: list[str]) -> None:
    with pytest.raises(ValueError, match="different names"):
        block_order(1, 0, arms)
