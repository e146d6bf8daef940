# SPDX-License-Identifier: BSD-2-Clause
"""Match crash reports against the symptom that a target names, and say why or why not."""

import re
from dataclasses import dataclass

from harness.crashes.report import Kind, Report
from harness.crashes.stack import plain_function
from harness.errors import ConfigurationError

_STACK_SHOWN = 8


@dataclass(frozen=True)
class MatchResult:
    """Whether a report is the symptom, and the reason, which goes into the evidence."""

    matched: bool
    why: str


@dataclass(frozen=True)
class ConsoleSignature:
    """A symptom as a console shows it; what is left out matches anything.

    `kind` is a report's kind (harness.crashes.report.Kind), `title` a regular expression that is
    searched for in the title and the alternative titles, `frames` functions that must all be in the
    stack (in any order), `function` the guilty function. Raises ConfigurationError for an unknown
    kind, a title that is no regular expression, and a signature that asks for nothing.
    """

    kind: str | None = None
    title: str | None = None
    frames: tuple[str, ...] = ()
    function: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "frames", tuple(self.frames))
        kinds = [kind.value for kind in Kind]
        if self.kind is not None and self.kind not in kinds:
            raise ConfigurationError(
                f"unknown kind of crash {self.kind!r}: expected one of {', '.join(kinds)}"
            )
        if not (self.kind or self.title or self.frames or self.function):
            raise ConfigurationError(
                "a console signature needs a kind, a title, frames or a function: "
                "this one would match every crash"
            )
        if self.title is not None:
            try:
                re.compile(self.title)
            except re.error as error:
                raise ConfigurationError(
                    f"the title {self.title!r} of a console signature is no regular expression: "
                    f"{error}"
                ) from error

    def match(self, report: Report) -> MatchResult:
        """Say whether `report` is this symptom; every demand that is not met is named."""
        met: list[str] = []
        missed: list[str] = []

        def demand(holds: bool, yes: str, no: str) -> None:
            (met if holds else missed).append(yes if holds else no)

        if self.kind is not None:
            demand(
                report.kind == self.kind,
                f"kind is {self.kind}",
                f"kind is {report.kind.value}, not {self.kind}",
            )
        if self.title is not None:
            titles = (report.title, *report.alt_titles)
            hit = next((title for title in titles if re.search(self.title, title)), None)
            demand(
                hit is not None,
                f"title {hit!r} matches {self.title!r}",
                f"title {report.title!r} does not match {self.title!r}",
            )
        if self.function is not None:
            demand(
                report.function == self.function,
                f"guilty function is {self.function}",
                f"guilty function is {report.function or 'unknown'}, not {self.function}",
            )
        if self.frames:
            stack = [frame.function for frame in report.frames]
            absent = [frame for frame in self.frames if plain_function(frame) not in stack]
            shown = " < ".join(stack[:_STACK_SHOWN]) or "empty"
            demand(
                not absent,
                f"the stack has {', '.join(self.frames)}",
                f"the stack lacks {', '.join(absent)} (it is {shown})",
            )
        if missed and report.corrupted_reason:
            missed.append(f"note that the report is corrupted: {report.corrupted_reason}")
        return MatchResult(not missed, "; ".join(missed or met))
