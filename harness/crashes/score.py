# SPDX-License-Identifier: BSD-2-Clause
"""Score the parser on a directory of crash logs whose headers say what is right.

The format of a log: header lines (`TITLE:`, `ALT:`, `FRAME:`, `CORRUPTED:` …) up to the first empty
line, then the console, up to a line `REPORT:` after an empty line. A log without a title holds no
crash.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from harness.crashes.detect import detect_system
from harness.crashes.report import Kind, Report
from harness.crashes.rules import GRAMMARS
from harness.crashes.stream import parse_console
from harness.errors import UsageError

_HEADER = re.compile(r"(?P<key>[A-Z]{2,20}): ?(?P<value>.*)")
_FUNCTION = re.compile(r"[^\s=]+(?: / [^\s=]+)?")
_END = re.compile(rb"(?:(?<=\n)|^)\nREPORT:[ \t]*(?:\n|$)")


@dataclass(frozen=True)
class ExpectedLog:
    """A log and what its headers say: `titles` is empty where no crash must be found."""

    name: str
    titles: tuple[str, ...]
    function: str | None
    corrupted: bool
    console: bytes


@dataclass(frozen=True)
class Disagreement:
    """One thing that the parser and a log's headers disagree on."""

    name: str
    what: str
    expected: str
    found: str


@dataclass
class Score:
    """Counts over the logs of one system, or of all."""

    logs: int = 0
    expected: int = 0
    found: int = 0
    false_reports: int = 0
    exact_title: int = 0
    same_bug: int = 0
    corrupted_right: int = 0
    disagreements: list[Disagreement] = field(default_factory=list)

    def add(self, other: "Score") -> None:
        """Add another system's counts to these."""
        for key in COUNTS:
            setattr(self, key, getattr(self, key) + getattr(other, key))
        self.disagreements += other.disagreements


COUNTS = (
    "logs",
    "expected",
    "found",
    "false_reports",
    "exact_title",
    "same_bug",
    "corrupted_right",
)
"""The keys of the summary, in the order that they are printed."""


def read_log(path: Path) -> ExpectedLog:
    """Read one log; raises UsageError where it cannot be read."""
    try:
        data = path.read_bytes().replace(b"\r", b"")
    except OSError as error:
        raise UsageError(f"cannot read the crash log {path}: {error.strerror}") from error
    if data.startswith(b"\n"):
        head, console = b"", data[1:]
    else:
        head, _, console = data.partition(b"\n\n")
    end = _END.search(console, 1)
    if end:
        console = console[: end.start()]
    values: dict[str, list[str]] = {}
    for line in head.decode("utf-8", "replace").split("\n"):
        match = _HEADER.match(line)
        if match and match["value"].strip():
            values.setdefault(match["key"], []).append(match["value"].strip())
    titles = (*values.get("TITLE", ()), *values.get("ALT", ()))
    return ExpectedLog(
        name=str(path),
        titles=titles if "TITLE" in values else (),
        function=values.get("FRAME", [None])[0],
        corrupted=values.get("CORRUPTED") == ["Y"],
        console=console,
    )


def bug_of(title: str) -> tuple[str, str]:
    """Return what makes two titles the same bug: what happened, and the guilty function."""
    what, _, where = title.rpartition(" in ")
    if not what or not _FUNCTION.fullmatch(where):
        what, where = title, ""
    return re.sub(r"[^a-z]+", " ", what.lower()).strip(), where


@cache
def _title_forms(system: str) -> tuple[tuple[re.Pattern[str], Kind], ...]:
    """Return a pattern for each title that the system's rules can give, with its kind."""
    forms: dict[str, set[Kind]] = {}
    for rule in GRAMMARS[system].rules:
        for form in rule.forms:
            for template in (form.title, *form.alts):
                forms.setdefault(template, set()).add(form.kind or rule.kind)
    # The more a template says, the better it knows; "{text}" says nothing.
    literals = {template: len(re.sub(r"\{\w+\}", "", template)) for template in forms}
    ordered = sorted(literals, key=lambda template: -literals[template])
    return tuple(
        (re.compile(r"[^\n]+".join(map(re.escape, re.split(r"\{\w+\}", template)))), kind)
        for template in ordered
        if literals[template] > len(" in ")
        for kind in sorted(forms[template])
    )


def kinds_of(system: str, title: str) -> frozenset[Kind]:
    """Return the kinds that a title of the corpus can stand for; empty for an unknown form.

    Several where one title serves several kinds (`bad-access in f`).
    """
    best: str | None = None
    kinds: set[Kind] = set()
    for pattern, kind in _title_forms(system):
        if best is not None and pattern.pattern != best:
            break
        if pattern.fullmatch(title):
            best = pattern.pattern
            kinds.add(kind)
    return frozenset(kinds)


def is_same_bug(log: ExpectedLog, report: Report) -> bool:
    """Say whether `report` has the kind and the guilty function that the log's headers imply.

    The kind is that of the TITLE's form or of an ALT's; the function is FRAME, or what stands
    after " in " in one of the titles. Where the headers name no function, or their titles are of
    no known form, what happened must be the same words.
    """
    mine = {bug_of(title) for title in (report.title, *report.alt_titles)}
    theirs = {bug_of(title) for title in log.titles}
    functions = {where for _, where in theirs if where} | (
        {log.function} if log.function else set()
    )
    if not functions:
        return bool(mine & theirs)
    if mine & theirs:
        return True
    kinds = frozenset().union(*(kinds_of(report.system, title) for title in log.titles))
    found = {where for _, where in mine if where} | (
        {report.function} if report.function else set()
    )
    return report.kind in kinds and bool(found & functions)


def score_log(log: ExpectedLog, system: str) -> Score:
    """Score the first report that the parser finds in one log."""
    reports = parse_console(log.console, system)
    score = Score(logs=1, expected=1 if log.titles else 0)

    def disagree(what: str, expected: str, found: str) -> None:
        score.disagreements.append(Disagreement(log.name, what, expected, found))

    if not log.titles:
        if reports:
            score.false_reports = 1
            disagree("false report", "none", reports[0].title)
        return score
    if not reports:
        disagree("not found", log.titles[0], "none")
        return score
    report = reports[0]
    score.found = 1
    score.exact_title = int(report.title in log.titles)
    score.same_bug = int(is_same_bug(log, report))
    score.corrupted_right = int(report.corrupted == log.corrupted)
    if not score.exact_title:
        disagree("title", log.titles[0], report.title)
    elif not score.corrupted_right:
        disagree(
            "corrupted",
            "corrupted" if log.corrupted else "whole",
            report.corrupted_reason or "whole",
        )
    return score


def logs_of(directory: Path) -> Iterator[tuple[str, Path]]:
    """Yield (system, log) for a corpus: a directory per system, or one system's logs.

    The system of logs that stand in no directory named after one is detected from the console.
    Raises UsageError for a directory that holds no logs.
    """
    if not directory.is_dir():
        raise UsageError(f"{directory} is no directory; expected one with crash logs in it")
    found = False
    for path in sorted(directory.rglob("*"), key=_in_order):
        if not path.is_file() or path.suffix in (".md", ".txt") or path.name.startswith("."):
            continue
        system = next((part for part in reversed(path.parent.parts) if part in GRAMMARS), "")
        found = True
        yield system, path
    if not found:
        raise UsageError(f"{directory} holds no crash logs")


def score_directory(directory: Path) -> dict[str, Score]:
    """Score every log below `directory`; returns the scores by system."""
    scores: dict[str, Score] = {}
    for name, path in logs_of(directory):
        log = read_log(path)
        system = name or detect_system(log.console)
        scores.setdefault(system, Score()).add(score_log(log, system))
    return scores


def total(scores: dict[str, Score]) -> Score:
    """Return the sum of all systems' scores."""
    result = Score()
    for score in scores.values():
        result.add(score)
    return result


def _in_order(path: Path) -> tuple[str, int, str]:
    return str(path.parent), int(path.name) if path.name.isdigit() else 0, path.name
