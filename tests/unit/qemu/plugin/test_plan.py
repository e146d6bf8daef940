# SPDX-License-Identifier: BSD-2-Clause
"""A plan that the control block cannot hold, or that makes no sense, is refused by name."""

from dataclasses import replace

import pytest

from harness.errors import ConfigurationError
from harness.qemu.plugin import (
    Action,
    Counting,
    DelayRule,
    OrderRule,
    PluginPlan,
    Point,
    Since,
    Term,
    arrival_gate,
)

A, B = Point("a", (0x1000,)), Point("b", (0x2000, 0x3000))
DELAY = Term(Action.DELAY, duration_us=100)
ORDER = OrderRule("order", "a", "b", 1000)


def test_the_largest_plan_is_accepted() -> None:
    points = tuple(Point(f"p{i}", tuple(range(4 * i, 4 * i + 4))) for i in range(128))
    rules = tuple(DelayRule(f"r{i}", f"p{i}", (DELAY,) * 16) for i in range(128))
    plan = PluginPlan(points, rules, marks=tuple(point.name for point in points))
    assert plan.point_index("p127") == 127


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (tuple(Point(f"p{i}", (i,)) for i in range(129)), "129 points; expected 0 to 128"),
        ((Point("a", tuple(range(513))),), "513 addresses; expected 0 to 512"),
        ((A, A), "point a occurs 2 times"),
        ((Point("a", ()),), "point 'a' has no address"),
        ((Point("a", (5, 5)),), "address of point 'a' 0x5 occurs 2 times"),
        ((Point("a", (2**64,)),), "address is 18446744073709551616"),
        ((Point("a", (-1,)),), "address is -1"),
    ],
)
def test_points_that_are_refused(points: tuple[Point, ...], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        PluginPlan(points)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (DelayRule("r", "c", (DELAY,)), "rule 'r' names the point 'c'; the plan has a, b"),
        (DelayRule("r", "a", ()), "0 terms in rule 'r'; expected 1 to 16"),
        (DelayRule("r", "a", (DELAY,) * 17), "17 terms"),
        (DelayRule("r", "a", (DELAY,), skip=-1), "skip is -1"),
        (DelayRule("r", "a", (DELAY,), per_attempt=0), "per_attempt is 0; expected 1"),
        (DelayRule("r", "a", (replace(DELAY, duration_us=0),)), "DELAY with duration_us = 0"),
        (DelayRule("r", "a", (Term(Action.PAUSE, 5),)), "PAUSE with duration_us = 5"),
        (DelayRule("r", "a", (replace(DELAY, probability_ppm=0),)), "probability_ppm is 0"),
        (DelayRule("r", "a", (replace(DELAY, probability_ppm=1_000_001),)), "1000001"),
        (DelayRule("r", "a", (replace(DELAY, count=0),)), "count is 0"),
        (DelayRule("r", "a", (replace(DELAY, vcpus=frozenset()),)), r"vCPUs \[\]"),
        (DelayRule("r", "a", (replace(DELAY, vcpus=frozenset({64})),)), r"vCPUs \[64\]"),
        (DelayRule("r", "a", (replace(DELAY, cascade=True),)), "DELAY cannot cascade"),
        (DelayRule("r", "a", (replace(DELAY, duration_us=10**13),)), "duration_us is"),
        (replace(ORDER, until="c"), "names the point 'c'"),
        (replace(ORDER, times=0), "times is 0"),
        (replace(ORDER, timeout_us=0), "timeout_us is 0"),
        (replace(ORDER, then_delay_us=-1), "then_delay_us is -1"),
        (replace(ORDER, until_vcpus=frozenset({99})), r"vCPUs \[99\]"),
        (
            replace(ORDER, vcpus=frozenset({1}), until_vcpus=frozenset({1}), until_other=True),
            "leaves them out",
        ),
    ],
)
def test_rules_that_are_refused(rule: DelayRule | OrderRule, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        PluginPlan((A, B), (rule,))


def test_other_refusals() -> None:
    with pytest.raises(ConfigurationError, match="a mark names the point 'c'"):
        PluginPlan((A,), marks=("c",))
    with pytest.raises(ConfigurationError, match="seed is -1"):
        PluginPlan((A,), seed=-1)
    with pytest.raises(ConfigurationError, match="rule order occurs 2 times"):
        PluginPlan((A, B), (ORDER, ORDER))


def test_an_arrival_gate_counts_arrivals_since_the_mark() -> None:
    gate = arrival_gate("gate", "a", "b", 500, vcpus=frozenset({0}))
    assert (gate.since, gate.counting, gate.times) == (Since.MARK, Counting.ARRIVALS, 1)
    assert (gate.point, gate.until, gate.timeout_us) == ("a", "b", 500)
    PluginPlan((A, B), (gate,))
