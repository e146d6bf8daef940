# SPDX-License-Identifier: BSD-2-Clause
"""Failpoints that the guest's own kernel carries out, set over its control channel."""

from harness.failpoints.inside.base import GuestFailpoint, Reading, Shell
from harness.failpoints.inside.debugfs import FaultInjection
from harness.failpoints.inside.hook import HookFailpoint
from harness.failpoints.inside.sysctl import SysctlFailpoint

__all__ = [
    "FaultInjection",
    "GuestFailpoint",
    "HookFailpoint",
    "Reading",
    "Shell",
    "SysctlFailpoint",
]
