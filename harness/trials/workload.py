# SPDX-License-Identifier: BSD-2-Clause
"""What a workload prints: one JSON object a line (workloads/harness_workload.h)."""

import json
import math
from dataclasses import dataclass, field
from typing import Any

_MAX_LINE = 65536
_MAX_NOISE = 20


@dataclass(frozen=True)
class WorkloadEvent:
    """One line: `kind` is its "event", `seconds` guest seconds since the workload's start."""

    kind: str
    seconds: float
    fields: dict[str, Any] = field(default_factory=dict)


class WorkloadOutput:
    """Output bytes in any chunking to events; what is no event is counted, not guessed at."""

    def __init__(self) -> None:
        self._rest = b""
        self.noise: list[str] = []
        """The first lines that were no events (a shell's error message, say)."""

    def feed(self, data: bytes) -> list[WorkloadEvent]:
        """The events completed by `data`. A line of more than _MAX_LINE bytes is none."""
        first, *others = data.split(b"\n")
        # of an overlong line, which is no event, the same part is kept in any chunking
        lines = [line[: _MAX_LINE + 1] for line in (self._rest + first, *others)]
        self._rest = lines.pop()
        return [event for line in lines if (event := self._parse(line)) is not None]

    def _parse(self, line: bytes) -> WorkloadEvent | None:
        try:
            if len(line) > _MAX_LINE:
                raise ValueError("too long")
            fields = json.loads(line)
            kind, seconds = str(fields.pop("event")), float(fields.pop("t"))
            if not math.isfinite(seconds):
                raise ValueError("no time")
            return WorkloadEvent(kind, seconds, fields)
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            RecursionError,
            TypeError,
            ValueError,
        ):
            self._note(line)
            return None

    def _note(self, line: bytes) -> None:
        if line.strip() and len(self.noise) < _MAX_NOISE:
            self.noise.append(line[:200].decode(errors="backslashreplace"))
