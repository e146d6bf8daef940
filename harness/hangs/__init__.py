# SPDX-License-Identifier: BSD-2-Clause
"""What a guest that shows no life is doing: looked at from outside, told apart, written down."""

from harness.hangs.evidence import Hang, HangKind, StackFrame, Vcpu
from harness.hangs.inspect import FindSymbols, FindThreads, Inspection, inspect_hang
from harness.hangs.lines import add_lines
from harness.hangs.report import hang_as_text

__all__ = [
    "FindSymbols",
    "FindThreads",
    "Hang",
    "HangKind",
    "Inspection",
    "StackFrame",
    "Vcpu",
    "add_lines",
    "hang_as_text",
    "inspect_hang",
]
