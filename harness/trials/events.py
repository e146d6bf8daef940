# SPDX-License-Identifier: BSD-2-Clause
"""What a campaign tells whoever watches it."""

from typing import Protocol

from harness.stats.sequential import Decision, StopRule
from harness.trials.trial import TrialRecord


class Watcher(Protocol):
    """Told of everything as it happens; must not block."""

    def say(self, text: str) -> None:
        """One line about a step that takes time."""
        ...

    def campaign(self, name: str, rule: StopRule, arms: list[str]) -> None:
        """A campaign begins, or goes on."""
        ...

    def trial_starts(self, arm: str, number: int) -> None:
        """A trial begins."""
        ...

    def trial_ends(self, record: TrialRecord, decision: Decision) -> None:
        """A trial has its verdict and is in the ledger."""
        ...
