# SPDX-License-Identifier: BSD-2-Clause
"""A campaign on the terminal: live where there is one, plain lines elsewhere; always on stderr."""

import time
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from harness.console.text import printable_text
from harness.progress import Say
from harness.stats.rates import rate
from harness.stats.sequential import Decision, StopRule, plan
from harness.trials.trial import TrialRecord
from harness.trials.verdict import Verdict

_COLUMNS = (
    "arm",
    "trials",
    "reproduced",
    "crashed",
    "hung",
    "survived",
    "void",
    "rate",
    "interval",
)


def say_to(console: Console) -> Say:
    """Prints lines as they are, without markup, wrapping or what could command a terminal."""

    def say(text: str) -> None:
        console.print(Text(printable_text(text)), highlight=False, soft_wrap=True)

    return say


class TerminalWatcher:
    """Shows a campaign as it runs; a context manager, so that the terminal is left as it was."""

    def __init__(self, console: Console, before: list[TrialRecord] | None = None) -> None:
        self._console = console
        self._records: list[TrialRecord] = list(before or [])
        self._arms: list[str] = []
        self._rule = StopRule()
        self._now = ""
        self._decision: Decision | None = None
        self._began = time.monotonic()
        self._ran = 0
        self._live = Live(
            console=console, get_renderable=self._render, refresh_per_second=4, transient=True
        )

    def __enter__(self) -> "TerminalWatcher":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        """One line about a step that takes time."""
        self._now = printable_text(text)
        self._line(text)

    def campaign(self, name: str, rule: StopRule, arms: list[str]) -> None:
        """A campaign begins, or goes on."""
        self._arms, self._rule = arms, rule
        self._began = time.monotonic()
        done = f", {len(self._records)} trials already done" if self._records else ""
        self._line(f"campaign {name}: arms {', '.join(arms)}{done}")

    def trial_starts(self, arm: str, number: int) -> None:
        """A trial begins."""
        self._now = f"{arm}, trial {number}"

    def trial_ends(self, record: TrialRecord, decision: Decision) -> None:
        """A trial has its verdict and is in the ledger."""
        self._records.append(record)
        self._ran += 1
        self._decision = decision
        text = f"{record.arm} {record.number}: {record.verdict} ({record.reason[:110]}"
        if record.attempts:
            text += f", {record.attempts_reproduced} of {record.attempts} attempts"
        text += f"; {record.cpu_seconds:.2f} CPU s)"
        if not self._console.is_terminal:  # the live table has these
            text += f" rate {_interval(self._rate(record.arm))}{self._eta()}"
        self._line(text)

    def _rate(self, arm: str) -> Any:
        counted = [r for r in self._records if r.arm == arm and r.verdict != Verdict.VOID]
        reproduced = sum(r.verdict == Verdict.REPRODUCED for r in counted)
        return rate(reproduced, len(counted), self._rule.confidence)

    def _eta(self) -> str:
        decision = self._decision
        if decision is None or decision.stop or not self._ran:
            return ""
        if self._rule.every_trial:
            blocks = float(self._rule.budget - decision.trials)
        else:
            # the mean of a uniform prior's posterior: neither 0 nor 1 after a few trials
            expected = (decision.events + 1) / (decision.trials + 2)
            blocks = plan(
                self._rule, expected, 0.0, decision.trials, decision.events
            ).expected_trials
        seconds = blocks * len(self._arms) * (time.monotonic() - self._began) / self._ran
        return f", about {seconds:.0f} s to go"

    def _line(self, text: str) -> None:
        say_to(self._console)(text)

    def _render(self) -> Group:
        if not self._arms:
            return Group(Text(self._now, style="bold"))
        table = Table(*_COLUMNS, box=None)
        for arm in self._arms:
            verdicts = [r.verdict for r in self._records if r.arm == arm]
            found = self._rate(arm)
            estimate = "–" if found.estimate is None else f"{found.estimate:.2f}"  # noqa: RUF001
            table.add_row(
                escape(arm),
                str(found.trials),
                *(str(verdicts.count(verdict)) for verdict in Verdict),
                estimate,
                f"{found.low:.2f} to {found.high:.2f}",
            )
        return Group(table, Text(f"now: {self._now}{self._eta()}", style="bold"))


def _interval(found: Any) -> str:
    if found.estimate is None:
        return "unknown"
    return f"{found.estimate:.2f} [{found.low:.2f}, {found.high:.2f}]"


def print_summary(console: Console, summary: dict[str, Any], folder: str) -> None:
    """The summary as a person wants it: the arms, the claim, where the evidence is."""
    width = max(len(name) for name in summary["arms"])
    lines = [_arm_line(name.ljust(width), arm) for name, arm in summary["arms"].items()]
    if summary["unexpected"]:
        lines.append(f"not as the target expects: {', '.join(summary['unexpected'])}")
    lines.append(f"{summary['target']} on {summary['guest']}: {_claim(summary)}")
    lines.append(f"evidence: {folder}")
    say = say_to(console)
    for line in lines:
        say(line)


def _claim(summary: dict[str, Any]) -> str:
    if list(summary["arms"]) == ["run"]:  # nothing was compared
        return str(summary["reason"])
    verb = {"holds": "the claim holds", "fails": "the claim fails"}
    return (
        f"{verb.get(summary['claim'], 'inconclusive')} (confidence "
        f"{summary['confidence']:.3f}, asked {summary['asked_confidence']:g}): {summary['reason']}"
    )


def _arm_line(name: str, arm: dict[str, Any]) -> str:
    parts = [f"{arm['reproduced']} of {arm['trials']} reproduced"]
    parts += [f"{arm[key]} {key}" for key in ("crashed", "hung", "void") if arm[key]]
    if arm["rate"] is not None:
        parts.append(f"rate {arm['rate']:.2f} [{arm['rate_low']:.2f}, {arm['rate_high']:.2f}]")
    if arm["median_cpu_seconds"] is not None:
        parts.append(f"median {arm['median_cpu_seconds']:.2f} CPU s")
    if (attempts := arm["attempts"]) is not None:
        parts.append(f"{attempts['reproduced']} of {attempts['carried_out']} attempts")
    return f"{name}  {', '.join(parts)}  ({arm['kernel']})"
