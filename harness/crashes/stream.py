# SPDX-License-Identifier: BSD-2-Clause
"""Find crash reports in a console while it is being written, in linear time and bounded memory."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from heapq import heapify, heappop, heapreplace
from typing import NamedTuple

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
QUIET_SECONDS = 1.0
"""Seconds of silence after which `ReportStream.flush` may be called: printk pauses no longer."""
CONSEQUENCES = 1 << 16
"""Bytes after a report in which a panic that says no more than "fatal exception" is its end."""
SAID = 1000
"""Different one-line reports that are told of."""

_ESCAPE = re.compile(rb"\x1b(?:\[[0-9;?]{0,16}[ -/]?[@-~]|[()][0-9A-Za-z]|[=>78cDEHMNOZ])")


class Line(NamedTuple):
    """One console line: where it starts, who printed it, when (seconds, as printed), its text."""

    start: int
    context: str
    stamp: str | None
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
    tangled: bool = False
    stamp: str | None = None


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
        self._told = -CONSEQUENCES
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

    def flush(self) -> list[Report]:
        """Take a silence of QUIET_SECONDS; return the pending reports that have all they need.

        Reports that print no end of their own (lockdep, hung tasks, stalls) are over when the
        console falls silent after their stack. They are given with `complete` True; those whose
        stack is missing or empty stay pending, and so does everything while a kernel's line is
        half out. Unlike `feed`, what this returns depends on when it is called; call it again
        after the next silence.
        """
        if self._rest_length:
            line = self._line(bytes(self._rest), self._offset)
            # a debugger's prompt has no end of line
            is_prompt = self._engine.ends.search(line.text) is not None
            if not is_prompt and (line.stamp is not None or self._engine.body.match(line.text)):
                return []
        reports: list[Report] = []
        for report in list(self._open):
            lines = report.lines[: report.kept]
            verdict = self._engine.judge(report.rule, report.match, lines)
            if verdict is not None and verdict.corrupted_reason is None:
                reports.extend(self._finish(report, complete=True))
        return reports

    def close(self) -> list[Report]:
        """Take the console's end; return what was pending, `complete` False."""
        # A line without an end may be half a line: what it ends is not known to be complete.
        reports = [replace(report, complete=False) for report in self._end_of_rest()]
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
            raw, start = bytes(self._rest), self._offset
            self._offset += self._rest_length
            self._rest.clear()
            self._rest_length = 0
            self._note_running(raw, start)
            marked = any(mark in raw for mark in self._engine.marks)
            if marked:
                yield from self._take(self._line(raw, start), self._offset)
            elif self._open:
                yield from self._go_on(self._line(raw, start), self._offset, marked=False)

    def _block(self, block: bytes, base: int) -> Iterator[Report]:
        """Yield the reports completed by `block`, which is whole lines."""
        self._note_running(block, base)
        marks = [(block.find(mark), mark) for mark in self._engine.marks]
        marks = [found for found in marks if found[0] >= 0]
        heapify(marks)
        position, size = 0, len(block)
        hit = marks[0][0] if marks else size
        while position < size:
            if hit < position:
                hit = _next_hit(block, position, marks)
            if not self._open:
                if hit == size:
                    return
                position = block.rfind(b"\n", position, hit) + 1 or position
            stop = block.find(b"\n", position) + 1
            line = self._line(block[position : min(stop, position + LINE_LIMIT)], base + position)
            if hit < stop:
                yield from self._take(line, base + stop)
            else:
                yield from self._go_on(line, base + stop, marked=False)
            position = stop

    def _note_running(self, block: bytes, base: int) -> None:
        """Note where a kernel's clock is first seen to have moved from zero."""
        if self._ran is None:
            match = _RUNNING.search(block)
            if match:
                self._ran = base + match.start()

    def _line(self, raw: bytes, start: int) -> Line:
        if b"\x1b" in raw:
            raw = _ESCAPE.sub(b"", raw)
        text = raw.decode("utf-8", "replace")
        if "\r" in text or "\0" in text:
            text = text.replace("\r", "").replace("\0", "")
        if text.endswith("\n"):
            text = text[:-1]
        match = self._engine.prefix.match(text)
        if match is None:
            return Line(start, "", None, text)
        stamp, context = match.group("seconds", "context")
        return Line(start, context or "", stamp, text[match.end() :])

    def _take(self, line: Line, line_end: int) -> Iterator[Report]:
        """Yield the reports that a line with a mark completes; it may open one."""
        found = self._opening(line)
        if found and not found[0].whole:
            rule = found[0]
            for report in list(self._open):
                report.tangled = report.tangled or not (report.has_frames or report.opener.context)
                if _owns(report, line) and (
                    report.has_frames or len(self._open) >= OPEN_REPORTS or report.rule is rule
                ):
                    yield from self._finish(report, complete=True)
        yield from self._go_on(line, line_end, marked=True)
        if found:
            rule, match = found
            report = _Open(rule, match, line, [line.text], line_end, 1, stamp=line.stamp)
            report.fatal = rule.fatal
            self._open.append(report)
            if rule.whole:
                for whole in self._finish(report, complete=True):
                    # Such lines come again and again; once is news.
                    if whole.title not in self._said and len(self._said) < SAID:
                        self._said.add(whole.title)
                        yield whole

    def _opening(self, line: Line) -> tuple[Rule, re.Match[str]] | None:
        """Return the rule that `line` opens a report by, unless it is part of another report."""
        found = self._engine.opening(line.text)
        if found is None or not self._believed(found[0], line):
            return None
        owners = [report for report in self._open if _owns(report, line)]
        if owners and self._engine.absorbed.search(line.text):
            return None
        if self._engine.introduced.search(line.text) and any(not r.has_frames for r in owners):
            return None
        follows = found[0].consequence_pattern
        near = owners or line.start - self._told < CONSEQUENCES
        if near and follows and follows.search(line.text):
            return None
        return found

    def _believed(self, rule: Rule, line: Line) -> bool:
        """Say whether the rule's demands on where and when a line stands are met."""
        if rule.stamped and line.stamp is None:
            return False
        return not rule.after_boot or (self._ran is not None and self._ran < line.start)

    def _go_on(self, line: Line, line_end: int, marked: bool) -> Iterator[Report]:
        """Yield the open reports that are over with `line`."""
        over = [
            report
            for report in self._open
            if _owns(report, line) and self._extend(report, line, line_end, marked)
        ]
        for report in over:
            yield from self._finish(report, complete=True)

    def _extend(self, report: _Open, line: Line, line_end: int, marked: bool) -> bool:
        """Add `line` to the report; say whether the report is over with it."""
        engine, text = self._engine, line.text
        report.lines.append(text)
        if marked and engine.lossy and engine.lossy.search(text):
            report.lossy = True
        if engine.body.match(text):
            report.end, report.kept, report.quiet = line_end, len(report.lines), 0
            report.stamp = line.stamp or report.stamp
            if not report.has_frames and engine.stacks.frame(text):
                report.has_frames = True
            if marked and self._is_end(report, text):
                return True
        else:
            report.quiet += 1
            if report.quiet > (PATIENCE_TAGGED if report.opener.context else PATIENCE_UNTAGGED):
                return True
            if line.stamp and report.stamp:
                linger = report.rule.linger
                if float(line.stamp) > float(report.stamp) + linger:
                    return True
        return len(report.lines) >= REPORT_LINES

    def _is_end(self, report: _Open, text: str) -> bool:
        """Say whether the report is out with this line, and note when the kernel is."""
        engine, ends = self._engine, report.rule.ends_pattern
        if engine.fatal and engine.fatal.search(text):
            report.fatal = True
        if engine.ends.search(text):
            return True
        return ends is not None and report.has_frames and bool(ends.search(text))

    def _finish(self, report: _Open, complete: bool) -> Iterator[Report]:
        self._open.remove(report)
        lines = report.lines[: report.kept]
        verdict = self._engine.judge(report.rule, report.match, lines)
        if verdict is None:
            return
        self._told = max(self._told, report.end)
        reason = verdict.corrupted_reason
        if reason is None and report.lossy:
            reason = "the console lost lines"
        if reason is None and report.tangled and report.rule.forms[0].stack_needed:
            reason = "another report is interleaved"
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
            rule=report.rule.name,
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


def _next_hit(block: bytes, position: int, marks: list[tuple[int, bytes]]) -> int:
    """Return where the next mark at or after `position` is, the block's length for none.

    `marks` is a heap of each mark's next place, so that the block is searched once per mark.
    """
    while marks and marks[0][0] < position:
        mark = marks[0][1]
        place = block.find(mark, position)
        if place < 0:
            heappop(marks)
        else:
            heapreplace(marks, (place, mark))
    return marks[0][0] if marks else len(block)
