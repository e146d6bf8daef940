# SPDX-License-Identifier: BSD-2-Clause
"""Progress: live on a terminal, plain lines elsewhere, and nothing of a guest's that commands."""

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parent.parent / "trials"))

from fakes import record

from harness.reports.terminal import TerminalWatcher, say_to
from harness.stats.sequential import StopRule, blocks_of, decide


def show(terminal: bool, verdicts: list[tuple[str, str]], **more: object) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=120, legacy_windows=False)
    rule = StopRule()
    records = [
        record(arm, n + 1, n // 2, verdict, **more) for n, (arm, verdict) in enumerate(verdicts)
    ]
    with TerminalWatcher(console) as watcher:
        watcher.say("booting [k] for a snapshot")
        watcher.campaign("race-1", rule, ["buggy", "fixed"])
        for n, one in enumerate(records):
            watcher.trial_starts(one.arm, one.number)
            seen = [(r.block, r.arm, r.verdict) for r in records[: n + 1]]
            watcher.trial_ends(one, decide(rule, blocks_of(seen)))
    return out.getvalue()


RUN = [("buggy", "reproduced"), ("fixed", "survived"), ("fixed", "void"), ("fixed", "survived")]


def test_plain_lines_have_verdict_rate_interval_and_eta() -> None:
    lines = show(False, RUN).splitlines()
    assert lines[0] == "booting [k] for a snapshot"
    assert "campaign race-1: arms buggy, fixed" in lines[1]
    assert lines[2].startswith("buggy 1: reproduced (because of reproduced")
    assert "rate 1.00 [" in lines[2]
    assert "s to go" in lines[3]
    assert len(lines) == 2 + len(RUN)


def test_a_terminal_gets_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")  # the tests' own terminal may be a dumb one
    text = show(True, RUN)
    assert "\x1b[" in text
    for column in ("arm", "reproduced", "void", "rate", "interval"):
        assert column in text


@pytest.mark.parametrize("terminal", [False, True])
def test_a_guest_s_words_command_nothing(terminal: bool) -> None:
    reason = "\x1b]0;owned\x07\x1b[2J[/red] \udcff \x9b5n"
    text = show(terminal, RUN[:1], reason=reason)
    assert "owned" not in text.replace("[2J", "")
    assert "\x1b]" not in text
    assert "\x9b" not in text
    assert "[/red]" in text


def test_what_was_done_before_is_counted() -> None:
    out = io.StringIO()
    before = [record("buggy", 1, 0, "reproduced"), record("fixed", 1, 0)]
    watcher = TerminalWatcher(Console(file=out, width=200), before=before)
    watcher.campaign("race-1", StopRule(), ["buggy", "fixed"])
    one = record("buggy", 2, 1, "survived")
    seen = [(r.block, r.arm, r.verdict) for r in [*before, one]]
    watcher.trial_ends(one, decide(StopRule(), blocks_of(seen)))
    assert "2 trials already done" in out.getvalue()
    assert "rate 0.50 [" in out.getvalue()


def test_lines_are_neither_folded_nor_marked_up() -> None:
    out = io.StringIO()
    say_to(Console(file=out, width=20))("[bold]x[/bold] " + "y" * 100)
    assert out.getvalue() == "[bold]x[/bold] " + "y" * 100 + "\n"
