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
    """The first `at: function+0x1/0x2` below the opening line, then the second (the lock held)."""
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

    - `title`, `alts`: named groups of the opening pattern and of `needs` stand as `{name}`, the
      guilty function as `{function}`. Numbers and addresses are taken out of the groups' texts,
      except of a group `expression` (source code).
    - `needs`: patterns, each of which must match a line of the report: the opening line or one of
      the next (`near` counts them all).
    - `sources`: where the guilty function is looked for; `section` is for Source.SECTION.
    - `skip`, `keep`: functions that are never, or that may be, guilty here; `generic` replaces the
      system's list.
    - `pointer_first`: the registers come before the stack.
    - `reported_by`: which function the first stack must show, else it is another CPU's. Without it,
      the group `site` of the opening line says so, where it has one.
    - `stack_needed`: without a stack, lines must have been lost.
    - `kind`: the kind, where it is not the rule's.
    - `corrupted`: a report of this form has lost lines.
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

    - `trigger`: a literal that every opening line contains. Lines without any rule's trigger are
      never looked at, which is what makes the parser fast.
    - `opens`, `unless`: what the opening line matches, and must not match.
    - `fatal`: the kernel cannot go on.
    - `all_contexts`: the lines of all CPUs belong to the report, as they do where a kernel makes
      other CPUs print their stacks.
    - `several_tasks`: the report shows the stacks of several tasks.
    - `consequence`: panics whose text matches only end a report that was told of just before.
    - `ends`: the line that ends the report once its stack is out (besides the grammar's `ends`).
    - `linger`: seconds of other lines that the report outlives.
    - `whole`: the opening line is the whole report.
    - `strict`: the opening line alone is no report; one of the forms must fit.
    - `stamped`: the line needs a kernel timestamp: without one it may be a program's.
    - `after_boot`: the line opens a report only where a kernel had been running before.
    """

    name: str
    kind: Kind
    trigger: str
    opens: str
    forms: tuple[Form, ...]
    fatal: bool = False
    all_contexts: bool = False
    several_tasks: bool = False
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
    """All that the engine knows of one system; patterns of lines match at the beginning.

    - `prefix`: what stands before a line's text; groups `seconds` and `context` (the caller).
    - `body`: lines that belong to a report wherever they stand.
    - `frames`: (literal that every such line has, pattern with the group `function`).
    - `instruction_pointer`, and `lost_pointer` (one that is no function, group `address`), for
      which `link_register` then stands in.
    - `headings` of the report's own stacks; `sections`: of others; `elsewhere`: lines after which
      the next heading is another's.
    - `ends`: the last line of any report (searched); `marks`: literals of all that `ends`, `fatal`,
      `lossy` and the rules' `ends` match: lines without one are not searched.
    - `absorbed`: opening lines that belong to a report that is already open; `introduced`: those
      that do as long as its stack is not out (searched).
    - `harmless`: lines that look like an opening and are none (searched).
    - `generic`: functions that are never guilty where another is left; `machinery`: those that
      never are; `lock_sites_skipped`: places of locks that say nothing.
    - `anchors`: patterns of "function caller", tier by tier, for Source.ANCHOR;
      `anchor_sections_skipped`: functions whose stacks are not looked at.
    - `aliases`: (pattern of a function, its name in titles, other names…).
    - `substitutions`: (pattern, replacement) that make a line of text a stable title.
    - `task`: lines that say whose stack follows, group `task`: two tasks in a report are two CPUs.
    - `foreign`: functions whose stack is no crash's; `fatal`: lines after which the kernel does not
      go on; `lossy`: lines that say that others were lost.
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
    introduced: str
    harmless: str
    generic: str
    machinery: str = "."
    lock_sites_skipped: str = "(?!)"
    anchors: tuple[tuple[str, ...], ...] = ()
    anchor_sections_skipped: str = ""
    aliases: Sequence[tuple[str, ...]] = ()
    substitutions: Sequence[tuple[str, str]] = ()
    foreign: str = ""
    task: str = "(?!)"
    fatal: str = ""
    lossy: str = ""
