# SPDX-License-Identifier: BSD-2-Clause
"""Failpoints and orders of events from outside the guest: QEMU's TCG plugin and its control."""

from harness.qemu.plugin.build import build_plugin
from harness.qemu.plugin.control import ControlBlock
from harness.qemu.plugin.plan import (
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
from harness.qemu.plugin.statistics import (
    HeldVcpu,
    PluginStatistics,
    PointStatistics,
    RuleStatistics,
)
from harness.qemu.plugin.timeline import Event, EventKind, Outcome

__all__ = [
    "Action",
    "ControlBlock",
    "Counting",
    "DelayRule",
    "Event",
    "EventKind",
    "HeldVcpu",
    "OrderRule",
    "Outcome",
    "PluginPlan",
    "PluginStatistics",
    "Point",
    "PointStatistics",
    "RuleStatistics",
    "Since",
    "Term",
    "arrival_gate",
    "build_plugin",
]
