# SPDX-License-Identifier: BSD-2-Clause
"""Crash reports: from console bytes to titles, guilty functions and stacks."""

from harness.crashes.report import Frame, Kind, Report
from harness.crashes.stream import ReportStream, parse_console

__all__ = ["Frame", "Kind", "Report", "ReportStream", "parse_console"]
