# SPDX-License-Identifier: BSD-2-Clause
"""Read the stacks out of a report's lines and choose the guilty function."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from harness.crashes.demangle import demangle
from harness.crashes.report import Frame
from harness.crashes.rule import Grammar

_COMPILER_SUFFIX = re.compile(
    r"(?:\.(?:isra|constprop|part|cold|llvm|lto_priv|localalias|clone|warm)(?:\.\d{1,20}|(?=\.|$))"
    r"|\.\d{1,9}$)+$"
)


def plain_function(name: str) -> str:
    """Return `name` without what compilers add: clones' suffixes, a leading dot, mangling."""
    if "." in name:
        name = _COMPILER_SUFFIX.sub("", name.lstrip("."))
    return demangle(name) if name.startswith(("_R", "_Z")) else name


_GROUPS = ("function", "offset", "file", "line", "module", "doubt", "inlined")
_GROUP_NAME = re.compile(r"\(\?P<\w+>")


@dataclass
class Section:
    """Frames printed under one heading; `main` tells the report's own stack from side ones."""

    heading: str
    main: bool
    frames: list[Frame] = field(default_factory=list)


class StackReader:
    """Reads stacks as one system prints them."""

    def __init__(self, grammar: Grammar) -> None:
        self._frames = tuple((hint, _with_all_groups(pattern)) for hint, pattern in grammar.frames)
        self._pointer = _with_all_groups(grammar.instruction_pointer)
        self._lost_pointer = re.compile(grammar.lost_pointer)
        self._link_register = _with_all_groups(grammar.link_register)
        self._headings = re.compile(grammar.headings)
        self._sections = re.compile(grammar.sections)
        self._elsewhere = re.compile(grammar.elsewhere)
        # One look tells the lines that are none of these, which most are.
        self._any = re.compile(
            "|".join(
                f"(?:{_GROUP_NAME.sub('(?:', pattern)})"
                for pattern in (
                    grammar.instruction_pointer,
                    grammar.lost_pointer,
                    grammar.link_register,
                    grammar.headings,
                    grammar.sections,
                    grammar.elsewhere,
                )
            )
        )

    def frame(self, text: str) -> Frame | None:
        """Return the frame that a line shows, None when it shows none."""
        for hint, pattern in self._frames:
            if hint in text:
                match = pattern.match(text)
                if match:
                    return _frame(match)
        return None

    def read(self, lines: Sequence[str]) -> list[Section]:
        """Return the stacks in `lines`, in order; the first has no heading, any may be empty."""
        current = Section("", main=True)
        sections = [current]
        lost = claimed = False
        for text in lines:
            frame = self.frame(text)
            if frame is not None:
                current.frames.append(frame)
                continue
            if not self._any.match(text):
                continue
            pointer = self._pointer.match(text)
            if pointer is None and (unnamed := self._lost_pointer.match(text)):
                if not any(frame.pointer for frame in current.frames):
                    current.frames.append(Frame(f"0x{unnamed['address']}", pointer=True))
                    lost = True
                continue
            if lost and pointer is None:
                pointer = self._link_register.match(text)
            if pointer:
                # Registers follow a call trace's own heading too: a pointer stays in its section
                # unless that is a side one.
                if not current.main:
                    current = Section("", main=True)
                    sections.append(current)
                current.frames.append(_frame(pointer)._replace(pointer=True))
                lost = False
            elif self._sections.match(text):
                current = Section(text, main=False)
                sections.append(current)
            elif self._elsewhere.match(text):
                current = Section(text, main=False)
                sections.append(current)
                claimed = True
            elif self._headings.match(text):
                current = Section(text, main=not claimed)
                sections.append(current)
                claimed = False
        return sections


def _with_all_groups(pattern: str) -> re.Pattern[str]:
    """Compile a frame's pattern; groups that it lacks are added and never match."""
    absent = "".join(f"(?P<{name}>(?!))?" for name in _GROUPS if f"?P<{name}>" not in pattern)
    return re.compile(f"(?:{pattern}){absent}")


def _frame(match: re.Match[str]) -> Frame:
    function, offset, file, line, module, doubt, inlined = match.group(*_GROUPS)
    return Frame(
        plain_function(function),
        int(offset, 16) if offset else None,
        file,
        int(line) if line else None,
        module,
        doubt is None,
        inlined is not None,
    )


def main_frames(sections: Sequence[Section]) -> Iterator[Frame]:
    """Yield the frames of the report's own stacks, innermost first."""
    for section in sections:
        if section.main:
            yield from section.frames
