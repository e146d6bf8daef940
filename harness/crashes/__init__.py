# SPDX-License-Identifier: BSD-2-Clause
"""Crash reports: from console bytes to titles, guilty functions and stacks."""

from harness.crashes.detect import detect_system
from harness.crashes.report import Frame, Kind, Report
from harness.crashes.signature import ConsoleSignature, MatchResult
from harness.crashes.stream import QUIET_SECONDS, ReportStream, parse_console

__all__ = [
    "QUIET_SECONDS",
    "ConsoleSignature",
    "Frame",
    "Kind",
    "MatchResult",
    "Report",
    "ReportStream",
    "detect_system",
    "parse_console",
]
