# SPDX-License-Identifier: BSD-2-Clause
"""Console bytes made fit for a person's terminal."""

import re

_ESCAPE_SEQUENCE = re.compile(
    rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(data: bytes) -> str:
    """Text without escape sequences or control characters, invalid UTF-8 replaced.

    What a guest prints must never reach a terminal as it is: it could retitle, repaint or answer
    for the user (ECMA-48 control sequences).
    """
    text = _ESCAPE_SEQUENCE.sub(b"", data).replace(b"\r\n", b"\n").decode(errors="replace")
    return _CONTROL.sub("", text)


def printable_text(text: str) -> str:
    """The same for text that may quote a guest: a message, a verdict's reason, a title."""
    return printable(text.encode(errors="replace"))


def last_lines(data: bytes, count: int = 40) -> str:
    """The last `count` lines, printable and indented, for an error message.

    As many as a Linux panic with stack and registers takes: its first line is the one that counts.
    """
    lines = [line for line in printable(data[-16384:]).splitlines() if line.strip()]
    return "\n".join(f"    {line[:200]}" for line in lines[-count:])
