# SPDX-License-Identifier: BSD-2-Clause
"""Turn a grammar into the thing that titles reports: everything compiled, nothing remembered."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.crashes.report import Frame, Kind
from harness.crashes.rule import CORRUPTED, Form, Grammar, Rule, Source
from harness.crashes.stack import Section, StackReader, main_frames, plain_function

_LOCK_SITE = re.compile(
    r"\bat: (?:\[<?[0-9a-fx]{1,18}>?\])?\s{0,20}(?P<function>[A-Za-z_][\w.]*)\+0x"
)
_TITLE_LENGTH = 200


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
        self.harmless = re.compile(grammar.harmless)
        self.generic = re.compile(grammar.generic)
        self.fatal = re.compile(grammar.fatal) if grammar.fatal else None
        self.lossy = re.compile(grammar.lossy) if grammar.lossy else None
        self.anchors = tuple(re.compile(anchor) for anchor in grammar.anchors)
        self.anchor_skips = (
            re.compile(grammar.anchor_sections_skipped) if grammar.anchor_sections_skipped else None
        )
        self.aliases = tuple((re.compile(pattern), names) for pattern, *names in grammar.aliases)
        self.substitutions = tuple((re.compile(p), r) for p, r in grammar.substitutions)
        self.stacks = StackReader(
            frames=tuple(re.compile(frame) for frame in grammar.frames),
            instruction_pointer=re.compile(grammar.instruction_pointer),
            headings=re.compile(grammar.headings),
            sections=re.compile(grammar.sections),
        )
        self.triggers = _shortest({rule.trigger for rule in grammar.rules})
        self.text_triggers = tuple(trigger.decode() for trigger in self.triggers)

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

    def judge(self, rule: Rule, match: re.Match[str], lines: Sequence[str]) -> Verdict:
        """Title the report that `rule` opened with `match` and whose lines are `lines`."""
        sections = self.stacks.read(lines)
        frames = tuple(main_frames(sections))
        for form in rule.forms:
            details = _details(form, match, lines)
            if details is not None:
                return self._fill(rule, form, details, lines, sections, frames)
        title = self.stable(match.string[match.start() :])
        return Verdict(
            rule.kind, title, (), None, frames, "the lines that say what happened are missing"
        )

    def _fill(
        self,
        rule: Rule,
        form: Form,
        details: dict[str, str],
        lines: Sequence[str],
        sections: Sequence[Section],
        frames: tuple[Frame, ...],
    ) -> Verdict:
        reason = None
        if form.corrupted:
            reason = "the lines that say what happened are missing"
        elif form.stack_needed and not any(f.reliable for f in frames):
            reason = "the stack is missing"
        function: str | None = None
        names: list[str] = []
        wants_function = any("{function}" in text for text in (form.title, *form.alts))
        if wants_function:
            function = self._guilty(form, details, lines, sections)
            if function is None:
                names = [CORRUPTED]
                reason = reason or "no frame of the stack can be guilty"
            else:
                names = self.names(function)
        texts = {name: self.stable(value) for name, value in details.items()}
        titles: list[str] = []
        for text in (form.title, *form.alts):
            for name in names or [""]:
                title = _shape(text, {**texts, "function": name})
                if title not in titles:
                    titles.append(title)
        return Verdict(
            kind=form.kind or rule.kind,
            title=titles[0],
            alt_titles=tuple(titles[1:]),
            function=names[0] if function is not None else None,
            frames=frames,
            corrupted_reason=reason,
        )

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
                if not self.generic.search(name):
                    return name
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
            for text in lines:
                match = _LOCK_SITE.search(text)
                if match:
                    yield plain_function(match["function"])
                    return
        elif source is Source.SECTION:
            for section in sections:
                if form.section_pattern and form.section_pattern.search(section.heading):
                    yield from (f.function for f in section.frames if f.reliable)
        else:
            yield from (f.function for f in main_frames(sections) if f.reliable)

    def _anchor(self, sections: Sequence[Section]) -> str | None:
        for section in sections:
            names = [frame.function for frame in section.frames if frame.reliable]
            if self.anchor_skips and any(map(self.anchor_skips.search, names)):
                continue
            for name, caller in zip(names, [*names, ""][1:], strict=True):
                if any(anchor.search(f"{name} {caller}") for anchor in self.anchors):
                    return name
        return None

    def stable(self, text: str) -> str:
        """Return `text` without what differs from run to run: addresses, numbers, offsets."""
        text = text.strip()[: 2 * _TITLE_LENGTH]
        for pattern, replacement in self.substitutions:
            text = pattern.sub(replacement, text)
        return text.strip()[:_TITLE_LENGTH]


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


def _shortest(triggers: set[str]) -> tuple[bytes, ...]:
    """Return the triggers that contain no other: finding those finds all."""
    return tuple(
        sorted(t.encode() for t in triggers if not any(o != t and o in t for o in triggers))
    )
