# SPDX-License-Identifier: BSD-2-Clause
"""The arms' order: balanced in every block, fair, and the same for ever for a seed."""

from collections import Counter
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from harness.stats.schedule import Slot, arm_order, block_order

names = st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=5, unique=True)


def test_the_order_of_a_seed_never_changes() -> None:
    # A recorded campaign is resumed by a later version: a change here breaks old ledgers.
    order = [slot.arm for slot in islice(arm_order(1, ["buggy", "fixed"]), 12)]
    assert order == [
        *("buggy", "fixed", "fixed", "buggy", "buggy", "fixed"),
        *("fixed", "buggy", "buggy", "fixed", "fixed", "buggy"),
    ]


@given(st.integers(), names, st.integers(1, 12))
def test_every_block_holds_every_arm_once(seed: int, arms: list[str], blocks: int) -> None:
    slots = list(islice(arm_order(seed, arms), blocks * len(arms)))
    assert [slot.index for slot in slots] == list(range(len(slots)))
    for block in range(blocks):
        mine = [slot.arm for slot in slots if slot.block == block]
        assert sorted(mine) == sorted(arms)
        assert tuple(mine) == block_order(seed, block, arms)


@given(st.integers(), names)
def test_same_seed_same_order(seed: int, arms: list[str]) -> None:
    assert list(islice(arm_order(seed, arms), 20)) == list(islice(arm_order(seed, arms), 20))


def test_each_order_is_equally_likely() -> None:
    orders = Counter(block_order(7, block, ["a", "b", "c"]) for block in range(6000))
    assert len(orders) == 6
    assert chisquare(list(orders.values())).pvalue > 1e-3


def test_seeds_differ() -> None:
    arms = ["buggy", "fixed"]
    first = {tuple(slot.arm for slot in islice(arm_order(seed, arms), 40)) for seed in range(50)}
    assert len(first) == 50


def test_slots_number_on() -> None:
    assert next(islice(arm_order(3, ["only"]), 4, None)) == Slot(block=4, arm="only", index=4)


@pytest.mark.parametrize("arms", [[], ["buggy", "buggy"]])
def test_bad_arms_are_refused_at_once(arms: list[str]) -> None:
    with pytest.raises(ValueError, match="different names"):
        arm_order(1, arms)
