# SPDX-License-Identifier: BSD-2-Clause
"""The order in which a campaign's arms take turns: random permuted blocks from a seed."""

from collections.abc import Sequence
from random import Random


def block_order(seed: int, block: int, arms: Sequence[str]) -> tuple[str, ...]:
    """The arms in the order in which they run in `block`; each order is equally likely.

    Arms are sorted by one draw each, in the order given, from
    `random.Random(f"harness arm order/{seed}/{block}").random()`. Python promises that sequence
    for ever (library manual, "Notes on Reproducibility"), which it does not for `shuffle()`; and
    a block's order depends on no other block, so a resumed campaign needs no replay.

    A machine that slows down or warms up does so for all arms alike, since after any whole number
    of blocks they have run equally often and none is regularly first.

    Raises ValueError if there is no arm or an arm is named twice.
    """
    if not arms or len(set(arms)) != len(arms):
        raise ValueError(f"expected one or more arms with different names, found {list(arms)}")
    random = Random(f"harness arm order/{seed}/{block}")
    return tuple(sorted(arms, key={arm: random.random() for arm in arms}.__getitem__))
