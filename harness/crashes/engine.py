# SPDX-License-Identifier: BSD-2-Clause
"""Turn a grammar into the thing that titles reports: everything compiled, nothing remembered."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile

from harness.crashes.report import Frame, Kind
from harness.crashes.rule import CORRUPTED, Form, Grammar, Rule, Source
from harness.crashes.stack import Section, StackReader, main_frames, plain_function

_LOCK_SITE = re.compile(
    r"\bat: (?:\[<?[0-9a-fx]{1,18}>?\])?\s{0,20}(?P<function>[A-Za-z_][\w.]*)\+0x"
)
_OTHER_LOCKS = "other info that might help"
"""After this, locks are listed that may have nothing to do with it."""
_TITLE_LENGTH = 200
_REMEMBERED = 50_000
"""Functions whose being generic is remembered: the pattern is long, the same names come again."""

_LOST = "the lines that say what happened are missing"
_NO_STACK = "the stack is missing"
_EMPTY = "the stack is empty"
_FOREIGN = "the stack is another CPU's"
_NO_POINTER = "the registers are missing"
_TANGLED = "two CPUs' reports are interleaved"
_NO_FUNCTION_BUT_POINTER = (_FOREIGN, _NO_POINTER)
_NO_FUNCTION = (*_NO_FUNCTION_BUT_POINTER, _EMPTY, _TANGLED)
"""Reasons with which no function of the stack is to be blamed."""


@dataclass(frozen=True)
class Verdict:
    """What a report's lines mean."""

    kind: Kind
    title: str
    alt_titles: tuple[str, ...]
    function: str | None
    frames: tuple[Frame, ...]
    corrupted_reason: str | None


class Engine:
    """A grammar ready for use; shared by all the streams of one system."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self.prefix = re.compile(grammar.prefix)
        self.body = re.compile(grammar.body)
        self.ends = re.compile(grammar.ends)
        self.absorbed = re.compile(grammar.absorbed)
        self.introduced = re.compile(grammar.introduced)
        self.harmless = re.compile(grammar.harmless)
        self.generic = re.compile(grammar.generic)
        self._generic: dict[str, bool] = {}
        self.fatal = re.compile(grammar.fatal) if grammar.fatal else None
        self.lossy = re.compile(grammar.lossy) if grammar.lossy else None
        self.machinery = re.compile(grammar.machinery)
        self.lock_sites_skipped = re.compile(grammar.lock_sites_skipped)
        self.anchors = tuple(tuple(map(re.compile, tier)) for tier in grammar.anchors)
        self.task = re.compile(grammar.task)
        self.foreign = re.compile(grammar.foreign) if grammar.foreign else None
        self.anchor_skips = (
            re.compile(grammar.anchor_sections_skipped) if grammar.anchor_sections_skipped else None
        )
        self.aliases = tuple((re.compile(pattern), names) for pattern, *names in grammar.aliases)
        self.substitutions = tuple((re.compile(p), r) for p, r in grammar.substitutions)
        self.stacks = StackReader(grammar)
        self.marks = _shortest({*(rule.trigger for rule in grammar.rules), *grammar.marks})

    def opening(self, text: str) -> tuple[Rule, re.Match[str]] | None:
        """Return the first rule whose opening line `text` is, None when it is none's."""
        for rule in self.grammar.rules:
            if rule.trigger in text:
                match = rule.pattern.search(text)
                if match and not (rule.unless_pattern and rule.unless_pattern.search(text)):
                    if self.harmless.search(text):
                        return None
                    return rule, match
        return None

    def judge(self, rule: Rule, match: re.Match[str], lines: Sequence[str]) -> Verdict | None:
        """Title the report that `rule` opened with `match` and whose lines are `lines`.

        None where a strict rule's forms do not fit: it was no report.
        """
        sections = self.stacks.read(lines)
        frames = tuple(main_frames(sections))
        for form in rule.forms:
            details = _details(form, match, lines)
            if details is not None:
                return self._fill(rule, form, details, lines, sections, frames)
        if rule.strict:
            return None
        title = self.stable(match.string.strip(" []"))
        return Verdict(rule.kind, title, (), None, frames, _LOST)

    def _fill(
        self,
        rule: Rule,
        form: Form,
        details: dict[str, str],
        lines: Sequence[str],
        sections: Sequence[Section],
        frames: tuple[Frame, ...],
    ) -> Verdict:
        reason = _corruption(form, details, sections, self.foreign)
        if reason is None and not rule.several_tasks and self._tasks(lines) > 1:
            reason = _TANGLED
        blamed = None
        # Registers that stand where they must are the report's own, whatever follows them.
        trusted = _NO_FUNCTION_BUT_POINTER if form.pointer_first else _NO_FUNCTION
        if reason not in trusted:
            blamed = self._guilty(form, details, lines, sections)
        if blamed and reason == _EMPTY and self.is_generic(blamed):
            blamed = None
        function, names = None, [""]
        if blamed:
            function, *_ = names = self.names(blamed)
        elif "{function}" in form.title:
            names = [CORRUPTED]
            reason = reason or "no frame of the stack can be guilty"
        texts = {
            name: value if name == "expression" else self.stable(value)
            for name, value in details.items()
        }
        titles: list[str] = []
        for text in (form.title, *form.alts):
            for name in names:
                title = _shape(text, {**texts, "function": name})
                if title not in titles:
                    titles.append(title)
        return Verdict(
            kind=form.kind or rule.kind,
            title=titles[0],
            alt_titles=tuple(titles[1:]),
            function=function,
            frames=frames,
            corrupted_reason=reason,
        )

    def _tasks(self, lines: Sequence[str]) -> int:
        """Count the tasks whose stacks are in `lines`."""
        return len({match["task"] for text in lines if (match := self.task.match(text))})

    def is_generic(self, function: str) -> bool:
        """Say whether `function` is never guilty."""
        known = self._generic.get(function)
        if known is None:
            if len(self._generic) >= _REMEMBERED:
                self._generic.clear()
            known = self._generic[function] = bool(self.generic.search(function))
        return known

    def names(self, function: str) -> list[str]:
        """Return the name that titles use for `function`, then the others it is known by."""
        for pattern, replacements in self.aliases:
            match = pattern.match(function)
            if match:
                found = [match.expand(name) for name in replacements]
                return list(dict.fromkeys([*found, function]))
        return [function]

    def _guilty(
        self,
        form: Form,
        details: dict[str, str],
        lines: Sequence[str],
        sections: Sequence[Section],
    ) -> str | None:
        for source in form.sources:
            if source is Source.ANCHOR:
                anchor = self._anchor(sections)
                if anchor:
                    return anchor
                continue
            for name in self._candidates(source, form, details, lines, sections):
                if form.skip_pattern and form.skip_pattern.search(name):
                    continue
                if form.keep_pattern and form.keep_pattern.search(name):
                    return name
                if source is Source.LOCK_SITE:
                    if not self.lock_sites_skipped.search(name):
                        return name
                elif form.generic_pattern:
                    if not form.generic_pattern.search(name):
                        return name
                elif not self.is_generic(name):
                    return name
        if Source.STACK in form.sources and not form.generic:
            for frame in main_frames(sections):
                name = frame.function
                skipped = form.skip_pattern and form.skip_pattern.search(name)
                if frame.certain and not skipped and not self.machinery.search(name):
                    return name
        if form.pointer_first:
            # Better the very place of the fault than nothing.
            places = (f.function for f in main_frames(sections) if f.pointer)
            return next((place for place in places if not place.startswith("0x")), None)
        return None

    def _candidates(
        self,
        source: Source,
        form: Form,
        details: dict[str, str],
        lines: Sequence[str],
        sections: Sequence[Section],
    ) -> Iterator[str]:
        if source in (Source.OPENING, Source.DETAIL):
            name = details.get("function")
            if name:
                yield plain_function(name)
        elif source is Source.LOCK_SITE:
            said = takewhile(lambda text: _OTHER_LOCKS not in text, lines)
            sites = (match for text in said if (match := _LOCK_SITE.search(text)))
            yield from (plain_function(match["function"]) for match in islice(sites, 2))
        elif source is Source.SECTION:
            for section in sections:
                if form.section_pattern and form.section_pattern.search(section.heading):
                    yield from (f.function for f in section.frames if f.certain)
        else:
            bare = source is Source.TRACE
            yield from (
                f.function for f in main_frames(sections) if f.certain and not (bare and f.pointer)
            )

    def _anchor(self, sections: Sequence[Section]) -> str | None:
        stacks = [[f.function for f in section.frames if f.certain] for section in sections]
        if self.anchor_skips:
            stacks = [s for s in stacks if not any(map(self.anchor_skips.search, s))]
        for tier in self.anchors:
            for names in stacks:
                for name, caller in zip(names, [*names, ""][1:], strict=True):
                    if any(anchor.search(f"{name} {caller}") for anchor in tier):
                        return name
        return None

    def stable(self, text: str) -> str:
        """Return `text` without what differs from run to run: addresses, numbers, offsets."""
        text = text[: 2 * _TITLE_LENGTH]
        for pattern, replacement in self.substitutions:
            text = pattern.sub(replacement, text)
        return text[:_TITLE_LENGTH]


def _corruption(
    form: Form,
    details: dict[str, str],
    sections: Sequence[Section],
    foreign: re.Pattern[str] | None,
) -> str | None:
    """Say why a report of this form and with these stacks must have lost something."""
    if form.corrupted:
        return _LOST
    frames = list(main_frames(sections))
    if form.pointer_first and frames and not frames[0].pointer:
        return _NO_POINTER
    if form.stack_needed and not any(
        f.certain and not f.pointer for section in sections for f in section.frames
    ):
        headed = any(section.heading and section.main for section in sections)
        return _EMPTY if headed else _NO_STACK
    site = details.get("site")
    wanted = form.reported_by_pattern or (
        re.compile(rf"(?:{re.escape(plain_function(site))}|_*warn\w*|report_bug)$")
        if site
        else None
    )
    first = _first_stack(sections)
    if wanted and first and not any(wanted.match(f.function) for f in first):
        return _FOREIGN
    if foreign and any(foreign.search(f.function) for f in first[:3]):
        return _FOREIGN
    return None


def _first_stack(sections: Sequence[Section]) -> list[Frame]:
    """Return the first main stack, with the registers that are printed before it."""
    frames: list[Frame] = []
    for section in sections:
        if section.main:
            frames += section.frames
            if any(not frame.pointer for frame in section.frames):
                break
    return frames


def _details(form: Form, match: re.Match[str], lines: Sequence[str]) -> dict[str, str] | None:
    details = {name: value for name, value in match.groupdict().items() if value is not None}
    for pattern in form.patterns:
        for text in lines[: form.near]:
            found = pattern.search(text)
            if found:
                details.update((k, v) for k, v in found.groupdict().items() if v is not None)
                break
        else:
            return None
    return details


def _shape(template: str, values: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda m: values.get(m[1], ""), template).strip()[:_TITLE_LENGTH]


def _shortest(marks: set[str]) -> tuple[bytes, ...]:
    """Return the marks that contain no other: finding those finds all."""
    return tuple(sorted(t.encode() for t in marks if not any(o != t and o in t for o in marks)))
