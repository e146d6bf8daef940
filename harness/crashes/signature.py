# SPDX-License-Identifier: BSD-2-Clause
"""Signatures: whether a console report is the symptom that a target describes, and why (not)."""

import re
from dataclasses import dataclass

from harness.crashes.report import Report


@dataclass(frozen=True)
class MatchResult:
    """Whether a report matched, and the first reason that decided it."""

    matched: bool
    why: str


@dataclass(frozen=True)
class ConsoleSignature:
    """What a report must have; a field left out matches everything.

    `kind` is a Kind's value, `title` a regular expression searched for in the title, `function`
    the guilty function, `frames` functions that must all be in the stack.
    """

    kind: str | None = None
    title: str | None = None
    function: str | None = None
    frames: tuple[str, ...] = ()

    def match(self, report: Report) -> MatchResult:
        """Compares a report with the signature."""
        stack = {frame.function for frame in report.frames}
        if self.kind is not None and report.kind != self.kind:
            return MatchResult(False, f"kind is {report.kind}, not {self.kind}")
        if self.title is not None and not re.search(self.title, report.title):
            return MatchResult(False, f"title {report.title!r} does not match {self.title!r}")
        if self.function is not None and report.function != self.function:
            return MatchResult(False, f"guilty function is {report.function}, not {self.function}")
        for frame in self.frames:
            if frame not in stack:
                return MatchResult(False, f"{frame} is not in the stack")
        return MatchResult(True, "everything that the signature names is there")
