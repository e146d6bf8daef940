# SPDX-License-Identifier: BSD-2-Clause
"""Which arms may hold somebody, so that a stall is no finding there."""

from dataclasses import replace
from pathlib import Path

import pytest
from fakes import arm

from harness.failpoints.grammar import parse_setting
from harness.failpoints.inside import FaultInjection, HookFailpoint
from harness.plan.rules import OrderModel
from harness.qemu import plugin
from harness.trials.arm import PreparedArm
from harness.trials.external import ExternalFailpoints, order_rule
from harness.trials.returns import ForcedReturn

ORDER = order_rule(OrderModel.model_validate(
    {"name": "first", "hold": "a", "until": {"place": "b"}, "timeout_ms": 5}
))  # fmt: skip
RETURN = ForcedReturn("fail", "alloc", 0x1000, parse_setting("return(0)"))


def from_outside(
    *rules: plugin.DelayRule | plugin.OrderRule, returns: tuple[ForcedReturn, ...] = ()
) -> PreparedArm:
    points = (plugin.Point("a", (0x1000,)), plugin.Point("b", (0x2000,)))
    plan = plugin.PluginPlan(points=points, rules=rules, marks=())
    return replace(arm("run"), failpoints=ExternalFailpoints(plan, (), {}, Path("x"), returns))


def inside(setting: str) -> PreparedArm:
    return replace(
        arm("run"), guest_failpoints=(HookFailpoint("here", "open", parse_setting(setting)),)
    )


def delay(action: plugin.Action, duration_us: int = 0) -> plugin.DelayRule:
    return plugin.DelayRule(action.name, "a", (plugin.Term(action, duration_us),))


def test_an_order_or_a_hold_from_outside_holds() -> None:
    assert from_outside(ORDER).has_holds
    assert from_outside(delay(plugin.Action.DELAY, 5)).has_holds
    assert from_outside(delay(plugin.Action.PRINT), delay(plugin.Action.PAUSE)).has_holds


def test_forced_returns_and_prints_hold_nobody() -> None:
    assert not arm("run").has_holds
    assert not from_outside(returns=(RETURN,)).has_holds
    assert not from_outside(delay(plugin.Action.PRINT), delay(plugin.Action.OFF)).has_holds


@pytest.mark.parametrize(
    ("setting", "holds"),
    [
        ("sleep(5)", True), ("delay(5)", True), ("pause", True), ("2%return(5)->1%sleep(1)", True),
        ("return(12)", False), ("print", False), ("yield", False), ("panic", False), ("off", False),
        ("sleep(0)", False), ("return(1)->sleep(5)", False),
    ],
)  # fmt: skip
def test_inside_the_guest_it_is_the_action_that_counts(setting: str, holds: bool) -> None:
    assert inside(setting).has_holds == holds


def test_fault_injection_holds_nobody() -> None:
    fault = FaultInjection("fail", "failslab", parse_setting("5%return"), {}, False, ())
    assert not replace(arm("run"), guest_failpoints=(fault,)).has_holds
