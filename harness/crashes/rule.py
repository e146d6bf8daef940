# SPDX-License-Identifier: BSD-2-Clause
"""The vocabulary that the rule files are written in; docs/crashes.md teaches it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from harness.crashes.report import Kind

CORRUPTED = "corrupted"
"""What a title says instead of a function that the console has lost."""


class Source(Enum):
    """Where a rule looks for the guilty function; the first that is not generic is taken."""

    OPENING = "opening"
    """The group `function` of the line that opens the report."""
    STACK = "stack"
    """The instruction pointer and the main stack, in the order that they are printed."""
    TRACE = "trace"
    """The main stack without the instruction pointer (which a stack overflow hits anywhere)."""
    LOCK_SITE = "lock site"
    """The first `at: function+0x1/0x2` below the opening line."""
    DETAIL = "detail"
    """The group `function` of one of the form's `needs`."""
    SECTION = "section"
    """The frames of the side sections that the form's `section` matches."""
    ANCHOR = "anchor"
    """The entry point (system call, ioctl, timer, work item…) that a spinning stack is in."""


def compiled(pattern: str) -> re.Pattern[str]:
    """Compile a rule's pattern; dots don't match a line's end, and case counts."""
    return re.compile(pattern)


@dataclass(frozen=True)
class Form:
    """One way in which a report may look, and its title.

    Every pattern in `needs` must match a line of the report (the opening line, or one below it;
    `near` bounds how many lines below are looked at). Named groups of the opening pattern and of
    `needs` may stand in the title as `{name}`, the guilty function as `{function}`.
    `skip` and `keep` add to and take from the system's list of generic functions, `generic`
    replaces it. `stack_needed` says that without a stack the report must have lost lines,
    `pointer_first` that the registers come before the stack, and `reported_by` which function the
    stack must show (a pattern; the group `site` of the opening line, when there is none): other
    stacks are another CPU's.
    """

    title: str
    alts: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    near: int = 400
    sources: tuple[Source, ...] = (Source.STACK,)
    section: str = ""
    skip: str = ""
    keep: str = ""
    generic: str = ""
    pointer_first: bool = False
    reported_by: str = ""
    stack_needed: bool = True
    kind: Kind | None = None
    corrupted: bool = False
    patterns: tuple[re.Pattern[str], ...] = field(init=False, repr=False)
    section_pattern: re.Pattern[str] | None = field(init=False, repr=False)
    skip_pattern: re.Pattern[str] | None = field(init=False, repr=False)
    keep_pattern: re.Pattern[str] | None = field(init=False, repr=False)
    generic_pattern: re.Pattern[str] | None = field(init=False, repr=False)
    reported_by_pattern: re.Pattern[str] | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "patterns", tuple(compiled(need) for need in self.needs))
        for name in ("section", "skip", "keep", "generic", "reported_by"):
            text = getattr(self, name)
            object.__setattr__(self, f"{name}_pattern", compiled(text) if text else None)


@dataclass(frozen=True)
class Rule:
    """How one sort of report begins and which forms it has; the first form that fits is taken.

    `trigger` is a literal that every opening line contains: lines without any rule's trigger are
    never looked at, which is what makes the parser fast. `all_contexts` takes the lines of all CPUs
    in, as the reports do that make other CPUs print their stacks. `linger` is how many seconds of
    other lines the report outlives. A `strict` rule's
    opening line alone is no report: one of the forms must fit. `whole` rules end with their opening line, `stamped` ones need a
    kernel timestamp on it (what is no format of the kernel's may be a program's), `after_boot`
    ones a kernel that had been running.
    """

    name: str
    kind: Kind
    trigger: str
    opens: str
    forms: tuple[Form, ...]
    fatal: bool = False
    all_contexts: bool = False
    consequence: str = ""
    ends: str = ""
    linger: float = 5.0
    whole: bool = False
    strict: bool = False
    unless: str = ""
    stamped: bool = False
    after_boot: bool = False
    pattern: re.Pattern[str] = field(init=False, repr=False)
    consequence_pattern: re.Pattern[str] | None = field(init=False, repr=False)
    ends_pattern: re.Pattern[str] | None = field(init=False, repr=False)
    unless_pattern: re.Pattern[str] | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pattern", compiled(self.opens))
        for name in ("consequence", "ends", "unless"):
            text = getattr(self, name)
            object.__setattr__(self, f"{name}_pattern", compiled(text) if text else None)


@dataclass(frozen=True)
class Grammar:
    """All that the engine knows of one system.

    `body` matches the lines that belong to a report wherever they stand, `harmless` the lines that
    look like a report's beginning and are none, `ends` the line that ends any report, `absorbed`
    the opening lines that belong to a report that is already open. `generic` matches the functions
    that are never guilty where another is left, `machinery` those that never are. `sections` matches the headings of stacks that are not the report's own, and
    `headings` those of its own; these and the pointers match at a line's beginning. `frames` are
    (literal that every such line has, pattern). `elsewhere` a line after which the next heading's is not; `link_register` stands in for an instruction pointer that is no
    function (`lost_pointer`). `substitutions` make a line of text a stable title. `lock_sites_skipped`
    matches places of locks that say nothing, `anchors` are tried tier by tier.
    `foreign` matches functions whose stack is no crash's.
    """

    system: str
    rules: tuple[Rule, ...]
    prefix: str
    body: str
    frames: tuple[tuple[str, str], ...]
    instruction_pointer: str
    lost_pointer: str
    link_register: str
    headings: str
    sections: str
    elsewhere: str
    ends: str
    marks: tuple[str, ...]
    absorbed: str
    harmless: str
    generic: str
    machinery: str = "."
    lock_sites_skipped: str = "(?!)"
    anchors: tuple[tuple[str, ...], ...] = ()
    anchor_sections_skipped: str = ""
    aliases: Sequence[tuple[str, ...]] = ()
    substitutions: Sequence[tuple[str, str]] = ()
    foreign: str = ""
    fatal: str = ""
    lossy: str = ""
