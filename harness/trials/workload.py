# SPDX-License-Identifier: BSD-2-Clause
"""What a workload prints: one JSON object a line (workloads/harness_workload.h)."""

import json
from dataclasses import dataclass, field
from typing import Any

_MAX_LINE = 65536


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
        """The events completed by `data`."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-_MAX_LINE:]
        return [event for line in lines if (event := self._parse(line)) is not None]

    def _parse(self, line: bytes) -> WorkloadEvent | None:
        try:
            fields = json.loads(line)
            return WorkloadEvent(str(fields.pop("event")), float(fields.pop("t")), fields)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            if line.strip() and len(self.noise) < 20:
                self.noise.append(line[:200].decode(errors="backslashreplace"))
            return None
