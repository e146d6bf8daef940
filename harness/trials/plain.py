# SPDX-License-Identifier: BSD-2-Clause
"""Output of a workload that does not speak the harness's protocol: kept, and searched by line."""

import re
from collections.abc import Sequence

from harness.plan.symptom import SymptomModel

_MAX_LINE = 65536
_MAX_KEPT = 1 << 20
_SHOWN = 200


class PlainOutput:
    """Bytes in any chunking; lines that show a symptom out."""

    def __init__(self, symptoms: Sequence[SymptomModel]) -> None:
        self._patterns = [
            (symptom.name, re.compile(symptom.output))
            for symptom in symptoms
            if symptom.output is not None
        ]
        self._rest = b""
        self._kept = bytearray()
        self._received = 0

    def feed(self, data: bytes) -> list[tuple[str, str]]:
        """Symptoms in the lines that `data` completes: name and line of each."""
        self._kept += data[: _MAX_KEPT - len(self._kept)]
        self._received += len(data)
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[-_MAX_LINE:]  # of an endless line, what came last
        return [found for line in lines for found in self._search(line)]

    def close(self) -> list[tuple[str, str]]:
        """Symptoms in a last line without an end."""
        rest, self._rest = self._rest, b""
        return self._search(rest)

    @property
    def kept(self) -> bytes:
        """The beginning of the output, a mebibyte at most, and how much of it is missing."""
        missing = self._received - len(self._kept)
        note = f"\n[harness: {missing} bytes more were not kept]\n".encode() if missing else b""
        return bytes(self._kept) + note

    def _search(self, line: bytes) -> list[tuple[str, str]]:
        text = line.decode(errors="backslashreplace").rstrip("\r")
        return [(name, text[:_SHOWN]) for name, pattern in self._patterns if pattern.search(text)]
