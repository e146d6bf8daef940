# SPDX-License-Identifier: BSD-2-Clause
"""[[symptom]] of a target: what the race looks like."""

import re
from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from harness.crashes.signature import ConsoleSignature, MatchResult
from harness.hangs.signature import HangSignature
from harness.plan.model import Model, PatternText


class SymptomModel(Model):
    """[[symptom]]: what the race looks like: in the workload's words, on the console, as a hang."""

    name: str = Field(min_length=1)
    workload: str | None = None
    output: PatternText | None = None
    """A regular expression that is searched for in each line that a plain workload prints."""
    ending: list[Literal["crashed", "hung", "failed"]] = []
    """Any trial that ends so: with a report on the console or a signal, without a sign of life,
    with a plain workload's status that is not 0."""
    fields: dict[str, PatternText] = {}
    """Of a workload's symptom: regular expressions that its fields must match as a whole."""
    console: ConsoleSignature | None = None
    hang: HangSignature | None = None
    """What a guest that shows no life must be doing."""

    def match_workload(self, name: str, fields: Mapping[str, object]) -> MatchResult:
        """Whether what a workload reported is this symptom, and why (not)."""
        if self.workload is None:
            where = "on the console" if self.console is not None else "where the guest hangs"
            return MatchResult(False, f"it is looked for {where}")
        if self.workload != name:
            return MatchResult(False, f"the workload said {name!r}, not {self.workload!r}")
        for key, pattern in self.fields.items():
            if key not in fields:
                return MatchResult(False, f"the workload's {name!r} has no field {key}")
            if not re.fullmatch(pattern, str(fields[key])):
                return MatchResult(False, f"{key} is {fields[key]!r}, not {pattern!r}")
        return MatchResult(True, f"the workload said {name!r}")

    @model_validator(mode="after")
    def _one_kind(self) -> "SymptomModel":
        kinds = (self.workload, self.console, self.hang, self.output, self.ending or None)
        if sum(kind is not None for kind in kinds) != 1:
            raise ValueError(
                'a symptom is one of `workload = "…"`, `console = { … }`, `hang = { … }`, '
                '`output = "…"` and `ending = […]`'
            )
        if self.fields and self.workload is None:
            raise ValueError("`fields` are those of a workload's symptom")
        return self
