# SPDX-License-Identifier: BSD-2-Clause
"""Find crash reports in a console while it is being written, in linear time and bounded memory."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from harness.crashes.engine import Engine
from harness.crashes.report import Report
from harness.crashes.rule import Rule
from harness.crashes.rules import grammar_of

LINE_LIMIT = 2048
"""Bytes of a line that are looked at; printk's own limit is 1024 (LOG_LINE_MAX)."""
REPORT_LINES = 2000
"""Lines of one report that are kept; the longest (all CPUs' stacks) have some hundreds."""
OPEN_REPORTS = 4
"""Reports that may be open at once in a console whose CPUs interleave."""
PATIENCE_TAGGED = 12
PATIENCE_UNTAGGED = 40
"""Lines of others after which a report is over: few when the kernel names the caller."""

_RUNNING = re.compile(
    rb"^(?:<\d{1,3}>)?\[ {0,5}(?!0{1,9}\.0{6}\])\d{1,9}\.\d{6}\]"
    rb"|^GNU Mach \d|^Copyright \(c\) 1992-\d{4} The FreeBSD Project",
    re.M,
)
"""What shows that a kernel has been running: a clock that has moved, a banner."""
SAID = 1000
"""Different one-line reports that are told of."""

_ESCAPE = re.compile(rb"\x1b(?:\[[0-9;?]{0,16}[ -/]?[@-~]|[()][0-9A-Za-z]|[=>78cDEHMNOZ])")


@dataclass(frozen=True)
class Line:
    """One console line: where it starts, who printed it, when (seconds), and its clean text."""

    start: int
    context: str
    seconds: float | None
    text: str


@dataclass
class _Open:
    """A report that has begun."""

    rule: Rule
    match: re.Match[str]
    opener: Line
    lines: list[str] = field(default_factory=list)
    end: int = 0
    kept: int = 0
    quiet: int = 0
    has_frames: bool = False
    fatal: bool = False
    lossy: bool = False
    seconds: float | None = None


@cache
def engine_of(system: str) -> Engine:
    """Return the engine of `system`; raises UsageError for a system without rules."""
    return Engine(grammar_of(system))


class ReportStream:
    """Reads a console as it grows; the reports do not depend on how the bytes are cut."""

    def __init__(self, system: str) -> None:
        self._engine = engine_of(system)
        self._system = system
        self._rest = bytearray()
        self._offset = 0
        self._open: list[_Open] = []
        self._reported = 0
        self._said: set[str] = set()
        self._ran: int | None = None
        self._rest_length = 0

    @property
    def pending(self) -> bool:
        """A report has begun and is not complete yet."""
        return bool(self._open)

    def feed(self, data: bytes) -> list[Report]:
        """Take the console's next bytes; return the reports that they completed."""
        reports: list[Report] = []
        first = 0
        if self._rest_length:
            first = data.find(b"\n") + 1
            self._keep(data[:first] if first else data)
            if not first:
                return reports
            reports.extend(self._end_of_rest())
        cut = data.rfind(b"\n") + 1
        if cut > first:
            block = data[first:cut]
            reports.extend(self._block(block, self._offset))
            self._offset += len(block)
        self._keep(data[max(cut, first) :])
        return reports

    def close(self) -> list[Report]:
        """Take the console's end; return what was pending, `complete` False."""
        reports = list(self._end_of_rest())
        while self._open:
            reports.extend(self._finish(self._open[0], complete=False))
        return reports

    def _keep(self, data: bytes) -> None:
        """Keep the beginning of an unfinished line; memory stays bounded however long it gets."""
        self._rest += data[: LINE_LIMIT - len(self._rest)]
        self._rest_length += len(data)

    def _end_of_rest(self) -> Iterator[Report]:
        """Yield the reports completed by the line that several chunks made up."""
        if self._rest_length:
            self._note_running(bytes(self._rest), self._offset)
            line = self._line(bytes(self._rest), self._offset)
            self._offset += self._rest_length
            self._rest.clear()
            self._rest_length = 0
            if self._open or _has_trigger(line.text, self._engine):
                yield from self._take(line, self._offset)

    def _block(self, block: bytes, base: int) -> Iterator[Report]:
        """Yield the reports completed by `block`, which is whole lines."""
        self._note_running(block, base)
        triggers = dict.fromkeys(self._engine.triggers, -1)
        position = 0
        while position < len(block):
            if not self._open:
                hit = _next_hit(block, position, triggers)
                if hit < 0:
                    return
                position = block.rfind(b"\n", position, hit) + 1 or position
            stop = block.find(b"\n", position) + 1
            line = self._line(block[position : min(stop, position + LINE_LIMIT)], base + position)
            position = stop
            yield from self._take(line, base + stop)

    def _note_running(self, block: bytes, base: int) -> None:
        """Note where a kernel's clock is first seen to have moved from zero."""
        if self._ran is None:
            match = _RUNNING.search(block)
            if match:
                self._ran = base + match.start()

    def _line(self, raw: bytes, start: int) -> Line:
        if b"\x1b" in raw:
            raw = _ESCAPE.sub(b"", raw)
        text = raw.decode("utf-8", "replace") if not raw.isascii() else raw.decode("ascii")
        text = text.replace("\r", "").replace("\0", "").rstrip("\n")
        match = self._engine.prefix.match(text)
        if match is None:
            return Line(start, "", None, text)
        seconds = match["seconds"]
        return Line(
            start,
            match["context"] or "",
            float(seconds) if seconds else None,
            text[match.end() :],
        )

    def _take(self, line: Line, line_end: int) -> Iterator[Report]:
        engine = self._engine
        found = engine.opening(line.text) if _has_trigger(line.text, engine) else None
        if found and not self._believed(found[0], line):
            found = None
        if found and engine.absorbed.search(line.text):
            owners = [r for r in self._open if _owns(r, line)]
            if owners or (self._reported and _is_consequence(found[0], line.text)):
                found = None
        if found and not found[0].whole:
            rule = found[0]
            for report in list(self._open):
                if _owns(report, line) and (
                    report.has_frames or len(self._open) >= OPEN_REPORTS or report.rule is rule
                ):
                    yield from self._finish(report, complete=True)
        for report in list(self._open):
            if _owns(report, line):
                yield from self._extend(report, line, line_end)
        if found:
            rule, match = found
            report = _Open(rule, match, line, [line.text], line_end, 1, seconds=line.seconds)
            report.fatal = rule.fatal
            self._open.append(report)
            if rule.whole:
                for whole in self._finish(report, complete=True):
                    # Such lines come again and again; once is news.
                    if whole.title not in self._said and len(self._said) < SAID:
                        self._said.add(whole.title)
                        yield whole

    def _believed(self, rule: Rule, line: Line) -> bool:
        """Say whether the rule's demands on where and when a line stands are met."""
        if rule.stamped and line.seconds is None:
            return False
        return not rule.after_boot or (self._ran is not None and self._ran < line.start)

    def _extend(self, report: _Open, line: Line, line_end: int) -> Iterator[Report]:
        engine, text = self._engine, line.text
        if engine.lossy and engine.lossy.search(text):
            report.lossy = True
        report.lines.append(text)
        if engine.body.match(text):
            report.end, report.kept, report.quiet = line_end, len(report.lines), 0
            report.seconds = line.seconds or report.seconds
            if not report.has_frames and engine.stacks.frame(text):
                report.has_frames = True
            if engine.fatal and engine.fatal.search(text):
                report.fatal = True
            ends = report.rule.ends_pattern
            if engine.ends.search(text) or (
                ends is not None and report.has_frames and ends.search(text)
            ):
                yield from self._finish(report, complete=True)
                return
        else:
            report.quiet += 1
            patience = PATIENCE_TAGGED if report.opener.context else PATIENCE_UNTAGGED
            late = (
                line.seconds is not None
                and report.seconds is not None
                and line.seconds > report.seconds + report.rule.linger
            )
            if report.quiet > patience or late:
                yield from self._finish(report, complete=True)
                return
        if len(report.lines) >= REPORT_LINES:
            yield from self._finish(report, complete=True)

    def _finish(self, report: _Open, complete: bool) -> Iterator[Report]:
        self._open.remove(report)
        lines = report.lines[: report.kept]
        verdict = self._engine.judge(report.rule, report.match, lines)
        if verdict is None:
            return
        self._reported += 1
        reason = verdict.corrupted_reason
        if reason is None and report.lossy:
            reason = "the console lost lines"
        yield Report(
            system=self._system,
            kind=verdict.kind,
            title=verdict.title,
            alt_titles=verdict.alt_titles,
            function=verdict.function,
            frames=verdict.frames,
            start=report.opener.start,
            end=report.end,
            corrupted=reason is not None,
            corrupted_reason=reason,
            complete=complete,
            fatal=report.fatal,
            text="\n".join(lines),
        )


def parse_console(data: bytes, system: str) -> list[Report]:
    """Return every report in a whole console, in the order that they begin."""
    stream = ReportStream(system)
    reports = stream.feed(data) + stream.close()
    return sorted(reports, key=lambda report: report.start)


def _owns(report: _Open, line: Line) -> bool:
    if report.rule.all_contexts or not report.opener.context or not line.context:
        return True
    return report.opener.context == line.context


def _is_consequence(rule: Rule, text: str) -> bool:
    return rule.consequence_pattern is not None and bool(rule.consequence_pattern.search(text))


def _has_trigger(text: str, engine: Engine) -> bool:
    return any(trigger in text for trigger in engine.text_triggers)


def _next_hit(block: bytes, position: int, triggers: dict[bytes, int]) -> int:
    """Return where the next trigger at or after `position` is, -1 for none.

    `triggers` remembers each one's next place, so that the block is searched once per trigger.
    """
    nearest = -1
    for trigger, place in triggers.items():
        if -1 < place < position or place == -1:
            place = block.find(trigger, position)
            triggers[trigger] = place if place >= 0 else -2
        if place >= 0 and (nearest < 0 or place < nearest):
            nearest = place
    return nearest
