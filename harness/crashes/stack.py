# SPDX-License-Identifier: BSD-2-Clause
"""Read the stacks out of a report's lines and choose the guilty function."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from harness.crashes.demangle import demangle
from harness.crashes.report import Frame

_COMPILER_SUFFIX = re.compile(
    r"(?:\.(?:isra|constprop|part|cold|llvm|lto_priv|localalias|clone|warm)(?:\.\d{1,20}|(?=\.|$))"
    r"|\.\d{1,9}$)+$"
)


def plain_function(name: str) -> str:
    """Return `name` without what compilers add: clones' suffixes, a leading dot, mangling."""
    if "." in name:
        name = _COMPILER_SUFFIX.sub("", name.lstrip("."))
    return demangle(name) if name.startswith(("_R", "_Z")) else name


@dataclass
class Section:
    """Frames printed under one heading; `main` tells the report's own stack from side ones."""

    heading: str
    main: bool
    frames: list[Frame] = field(default_factory=list)


@dataclass(frozen=True)
class StackReader:
    """How one system prints stacks: the patterns are the grammar's, compiled."""

    frames: tuple[re.Pattern[str], ...]
    instruction_pointer: re.Pattern[str]
    lost_pointer: re.Pattern[str]
    link_register: re.Pattern[str]
    headings: re.Pattern[str]
    sections: re.Pattern[str]
    elsewhere: re.Pattern[str]

    def frame(self, text: str) -> Frame | None:
        """Return the frame that a line shows, None when it shows none."""
        for pattern in self.frames:
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
            pointer = self.instruction_pointer.match(text)
            if pointer is None and (pointer := self.lost_pointer.match(text)):
                if not any(frame.pointer for frame in current.frames):
                    current.frames.append(Frame(f"0x{pointer['address']}", pointer=True))
                    lost = True
                continue
            if lost and pointer is None:
                pointer = self.link_register.match(text)
            if pointer:
                # Registers follow a call trace's own heading too: a pointer stays in its section
                # unless that is a side one.
                if not current.main:
                    current = Section("", main=True)
                    sections.append(current)
                current.frames.append(replace(_frame(pointer), pointer=True))
                lost = False
            elif self.sections.search(text):
                current = Section(text, main=False)
                sections.append(current)
            elif self.elsewhere.search(text):
                current = Section(text, main=False)
                sections.append(current)
                claimed = True
            elif self.headings.search(text):
                current = Section(text, main=not claimed)
                sections.append(current)
                claimed = False
        return sections


def _frame(match: re.Match[str]) -> Frame:
    groups = match.groupdict()
    offset, line = groups.get("offset"), groups.get("line")
    return Frame(
        function=plain_function(groups["function"]),
        offset=int(offset, 16) if offset else None,
        file=groups.get("file"),
        line=int(line) if line else None,
        module=groups.get("module"),
        reliable=not groups.get("doubt"),
        inlined=bool(groups.get("inlined")),
    )


def main_frames(sections: Sequence[Section]) -> Iterator[Frame]:
    """Yield the frames of the report's own stacks, innermost first."""
    for section in sections:
        if section.main:
            yield from section.frames
