# SPDX-License-Identifier: BSD-2-Clause
"""Scoring: the corpus' format, the counts, and the commands that print them."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.commands.crashes import command as crashes
from harness.crashes.report import Kind
from harness.crashes.score import (
    COUNTS,
    ExpectedLog,
    bug_of,
    is_same_bug,
    kinds_of,
    read_log,
    score_directory,
    total,
)
from harness.crashes.stream import parse_console
from harness.errors import UsageError

from .consoles import oops, stamped, warning

OOPS = stamped(oops("divide error: 0000 [#1] SMP", at="toy_walk", trace=("toy_a", "toy_b")))
WARNING = stamped(warning("drivers/toy/toy.c:63", "toy_put", ("toy_a",)))


def write(directory: Path, name: str, head: str, console: bytes) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.write_bytes((head + "\n").encode() + console)
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    linux = tmp_path / "linux"
    write(linux, "1", "TITLE: divide error in toy_walk\n", OOPS)
    write(linux, "2", "TITLE: WARNING in nobody\nALT: WARNING in toy_put\n", WARNING)
    write(linux, "3", "TITLE: WARNING in toy_get\nCORRUPTED: Y\n", WARNING)
    write(linux, "4", "", b"[    1.000000] all is well\n")
    write(linux, "5", "", WARNING)
    write(linux, "6", "TITLE: divide error in toy_walk\n", b"[    1.000000] all is well\n")
    write(tmp_path / "freebsd", "1", "TITLE: panic: toy died\n", b"panic: toy died\ncpuid = 0\n")
    return tmp_path


def test_log_is_read_as_the_corpus_format_says(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "1",
        "# a comment\r\nTITLE: a in f\r\nALT: b in f\nALT: c\nFRAME: f\nCORRUPTED: Y\n",
        b"one\r\n\x0ctwo \xff\n\nREPORT:\nnot this\n",
    )
    log = read_log(path)
    assert log.titles == ("a in f", "b in f", "c")
    assert (log.function, log.corrupted) == ("f", True)
    assert log.console == b"one\n\x0ctwo \xff\n"


def test_log_without_headers_begins_with_an_empty_line(tmp_path: Path) -> None:
    assert read_log(write(tmp_path, "1", "", b"REPORT: is none\n")).console == b"REPORT: is none\n"
    log = read_log(write(tmp_path, "2", "TITLE:\n", b"REPORT:\nstill the log\n"))
    assert (log.titles, log.console) == ((), b"REPORT:\nstill the log\n")


def test_counts(corpus: Path) -> None:
    scores = score_directory(corpus)
    linux = scores["linux"]
    assert {key: getattr(linux, key) for key in COUNTS} == {
        "logs": 6,
        "expected": 4,
        "found": 3,
        "false_reports": 1,
        "exact_title": 2,
        "same_bug": 2,
        "corrupted_right": 2,
    }
    assert [(d.what, d.expected) for d in linux.disagreements] == [
        ("title", "WARNING in toy_get"),
        ("false report", "none"),
        ("not found", "divide error in toy_walk"),
    ]
    assert scores["freebsd"].exact_title == 1
    assert total(scores).logs == 7


def test_same_bug_is_the_same_trouble_in_the_same_function() -> None:
    assert bug_of("KASAN: use-after-free Read in f") == ("kasan use after free read", "f")
    assert bug_of("panic: toy died") == ("panic toy died", "")
    assert bug_of("BUG: soft lockup in f") != bug_of("BUG: soft lockup in g")


@pytest.mark.parametrize(
    ("titles", "frame", "same"),
    [
        (["divide error in toy_walk"], None, True),
        (["invalid opcode in toy_walk"], None, True),  # a trap as well
        (["BUG: soft lockup in toy_walk"], None, False),
        (["divide error in toy_a"], None, False),
        (["divide error in toy_a"], "toy_walk", True),
        (["BUG: soft lockup in toy_a", "divide error in toy_walk"], None, True),
        (["kernel panic: toy died"], None, False),
        (["toy trouble in toy_walk"], None, False),
    ],
)
def test_same_bug_needs_kind_and_function(titles: list[str], frame: str | None, same: bool) -> None:
    log = ExpectedLog("log", tuple(titles), frame, corrupted=False, console=OOPS)
    (report,) = parse_console(OOPS, "linux")
    assert is_same_bug(log, report) is same


def test_kinds_of_titles_come_from_the_rules() -> None:
    assert kinds_of("linux", "WARNING: refcount bug in f") == {Kind.REFCOUNT}
    assert kinds_of("linux", "WARNING in f") == {Kind.WARNING}
    assert kinds_of("linux", "stall in f") == {
        Kind.RCU_STALL,
        Kind.SOFT_LOCKUP,
        Kind.HARD_LOCKUP,
    }
    assert kinds_of("linux", "toys are broken") == frozenset()


def test_system_is_detected_outside_a_named_directory(tmp_path: Path) -> None:
    write(tmp_path / "logs", "1", "TITLE: divide error in toy_walk\n", OOPS)
    assert score_directory(tmp_path / "logs")["linux"].exact_title == 1


def test_directory_without_logs_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no crash logs"):
        score_directory(tmp_path)
    with pytest.raises(UsageError, match="no directory"):
        score_directory(tmp_path / "nowhere")


def test_score_command(corpus: Path) -> None:
    result = CliRunner().invoke(crashes, ["score", str(corpus), "--json"])
    assert result.exit_code == 0
    assert result.output.count("\n") == 1
    data = json.loads(result.output)
    assert list(data) == list(COUNTS)
    assert data["logs"] == 7
    text = CliRunner().invoke(crashes, ["score", str(corpus)]).output
    assert "linux 3: title: expected 'WARNING in toy_get', found 'WARNING in toy_put'" in text
    assert "linux: 6 logs, 4 with a crash: found 3 (75.0 %), exact title 2 (50.0 %)" in text


def test_parse_command(tmp_path: Path) -> None:
    path = tmp_path / "console"
    path.write_bytes(b"boot\n" + OOPS + WARNING)
    result = CliRunner().invoke(crashes, ["parse", str(path), "--json"])
    first, second = json.loads(result.output)
    assert list(first) == [
        "title",
        "alt_titles",
        "kind",
        "function",
        "corrupted",
        "start",
        "end",
    ]
    assert (first["title"], first["kind"]) == ("divide error in toy_walk", "trap")
    assert (first["start"], first["end"]) == (5, 5 + len(OOPS))
    assert second["function"] == "toy_put"
    text = CliRunner().invoke(crashes, ["parse", str(path), "--system", "linux"]).output
    assert "guilty: toy_walk" in text
    assert "stack: toy_walk < toy_a < toy_b" in text
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    assert "no crash report" in CliRunner().invoke(crashes, ["parse", str(empty)]).output
    assert json.loads(CliRunner().invoke(crashes, ["parse", str(empty), "--json"]).output) == []


def test_parse_of_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(crashes, ["parse", str(tmp_path / "none")])
    assert isinstance(result.exception, UsageError)


CORPUS = os.environ.get("HARNESS_CRASH_CORPUS", "")


@pytest.mark.skipif(not CORPUS, reason="HARNESS_CRASH_CORPUS names no corpus of crash logs")
def test_visible_corpus() -> None:
    whole = total(score_directory(Path(CORPUS)))
    assert whole.false_reports == 0
    assert whole.found >= 0.99 * whole.expected
    assert whole.same_bug >= 0.95 * whole.expected
    assert whole.exact_title >= 0.90 * whole.expected
