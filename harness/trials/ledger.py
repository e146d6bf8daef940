# SPDX-License-Identifier: BSD-2-Clause
"""The ledger of a campaign: one line a finished trial, durable, never rewritten.

A line is a JSON object. It is written and synced before the next trial starts, so a crash can only
tear the last line, which then belongs to no finished trial and is cut off at the next opening.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.errors import InfrastructureError
from harness.files import disk_errors_named

Line = dict[str, Any]
_NEEDED = ("arm", "number", "block", "verdict")


class Ledger:
    """An open ledger; use `open_ledger`."""

    def __init__(self, path: Path, descriptor: int, lines: list[Line], size: int) -> None:
        self.path = path
        self.lines = lines
        self._descriptor = descriptor
        self._size = size

    def append(self, line: Line) -> None:
        """Adds a line; durable on return. Raises InfrastructureError, then nothing was added."""
        data = (json.dumps(line, sort_keys=True) + "\n").encode()
        with disk_errors_named(self.path):
            try:
                _write_all(self._descriptor, data)
                os.fsync(self._descriptor)
            except OSError:
                os.ftruncate(self._descriptor, self._size)
                raise
        self._size += len(data)
        self.lines.append(line)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


@contextmanager
def open_ledger(path: Path) -> Iterator[Ledger]:
    """Opens, and creates where absent, a ledger that nobody else has open.

    Raises InfrastructureError where another process has it, or a line is damaged.
    """
    with disk_errors_named(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InfrastructureError(
                f"another harness is running the campaign {path.parent.name}: wait for it, or "
                "start a campaign of its own without --resume"
            ) from None
        content = path.read_bytes()
        lines, size = read_lines(path, content)
        if size < len(content):
            os.ftruncate(descriptor, size)
        yield Ledger(path, descriptor, lines, size)
    finally:
        os.close(descriptor)


def _trial(line: Any) -> Line:
    if not isinstance(line, dict):
        raise ValueError("no object")
    if missing := [key for key in _NEEDED if key not in line]:
        raise ValueError(f"no {', '.join(missing)}")
    return line


def read_lines(path: Path, content: bytes) -> tuple[list[Line], int]:
    """The whole lines of a ledger's content and their size in bytes.

    A torn last line is left out. Raises InfrastructureError for damage anywhere else.
    """
    lines: list[Line] = []
    size = 0
    for number, raw in enumerate(content.splitlines(keepends=True), start=1):
        try:
            if not raw.endswith(b"\n"):
                raise ValueError("no end of line")
            line = _trial(json.loads(raw))
        except (ValueError, RecursionError) as error:
            if size + len(raw) == len(content):
                break
            raise InfrastructureError(
                f"{path}, line {number} is damaged ({error}): the trials before it are whole; "
                "move the file away and resume from a copy cut there"
            ) from error
        lines.append(line)
        size += len(raw)
    return lines, size
