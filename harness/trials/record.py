# SPDX-License-Identifier: BSD-2-Clause
"""A campaign's folder: its plan, its ledger, its trials' evidence. docs/results.md describes it."""

import json
import shutil
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from harness.errors import InfrastructureError, UsageError
from harness.files import disk_errors_named, sync_folder, write_atomically
from harness.trials.ledger import Ledger, Line, read_lines
from harness.trials.trial import TrialRecord

FORMAT = 1
_PLAN = "campaign.json"
_LEDGER = "ledger.jsonl"
_SUMMARY = "summary.json"
_UNFINISHED = ".unfinished-"


@dataclass(frozen=True)
class CampaignFolder:
    """results/<campaign>/."""

    path: Path

    @property
    def name(self) -> str:
        """The campaign's name."""
        return self.path.name

    @property
    def ledger(self) -> Path:
        """One line a finished trial."""
        return self.path / _LEDGER

    @property
    def trials(self) -> Path:
        """One folder a finished trial."""
        return self.path / "trials"

    def plan(self) -> dict[str, Any]:
        """What was planned. Raises UsageError where this is no campaign."""
        try:
            plan = json.loads((self.path / _PLAN).read_bytes())
        except (OSError, ValueError) as error:
            raise UsageError(f"{self.path} is no campaign: {error}") from error
        if not isinstance(plan, dict) or plan.get("format") != FORMAT:
            raise UsageError(f"{self.path}/{_PLAN}: expected format {FORMAT}; use that version")
        return plan

    def summary(self) -> dict[str, Any]:
        """The summary as it was last written. Raises UsageError where there is none."""
        try:
            summary: dict[str, Any] = json.loads((self.path / _SUMMARY).read_bytes())
        except (OSError, ValueError) as error:
            raise UsageError(f"{self.path} has no summary yet ({error}): --resume it") from error
        return summary

    def records(self) -> list[TrialRecord]:
        """The finished trials, as far as they are in the ledger, for a person to look at.

        Those of another version of the harness are left out. Raises InfrastructureError.
        """
        if not self.ledger.exists():
            return []
        lines, _ = read_lines(self.ledger, self.ledger.read_bytes())
        known = {field.name for field in fields(TrialRecord)}
        return [TrialRecord(**line) for line in lines if line.keys() == known]

    def is_complete(self) -> bool:
        """Whether the stop rule has ended the campaign."""
        return (self.path / _SUMMARY).exists() and bool(self.summary()["complete"])

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Replaces summary.json."""
        with disk_errors_named(self.path / _SUMMARY):
            write_atomically(self.path / _SUMMARY, _json(summary))

    def trial_folder(self, arm: str, number: int) -> Path:
        """Where a finished trial's evidence is."""
        return self.trials / f"{arm}-{number:04d}"

    def start_trial(self, arm: str, number: int) -> Path:
        """An empty folder for a trial under way."""
        folder = self.trials / f"{_UNFINISHED}{arm}-{number:04d}"
        with disk_errors_named(folder):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        return folder

    def finish_trial(self, folder: Path, record: TrialRecord, ledger: Ledger) -> None:
        """Makes a trial part of the campaign: its folder under its name, its line in the ledger.

        Raises InfrastructureError (a full disk); then the trial did not happen.
        """
        with disk_errors_named(folder):
            write_atomically(folder / "trial.json", _json(asdict(record)))
            folder.rename(self.trial_folder(record.arm, record.number))
            sync_folder(self.trials)
        ledger.append(asdict(record))

    def recover(self, ledger: Ledger) -> None:
        """Brings folder and ledger together after a crash.

        A trial that was finished but had not reached the ledger is taken into it; one that was
        under way is removed.
        """
        known = {(line["arm"], line["number"]) for line in ledger.lines}
        for folder in sorted(self.trials.iterdir()):
            if folder.name.startswith(_UNFINISHED):
                shutil.rmtree(folder, ignore_errors=True)
                continue
            try:
                line = json.loads((folder / "trial.json").read_bytes())
                if (line["arm"], line["number"]) not in known:
                    ledger.append(line)
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise InfrastructureError(
                    f"{folder} is no trial's evidence ({error}): move it away"
                ) from error


def create_campaign(results: Path, name: str, plan: dict[str, Any]) -> CampaignFolder:
    """A new folder under `results`, with its plan; two at once get two.

    Raises InfrastructureError.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    with disk_errors_named(results):
        results.mkdir(parents=True, exist_ok=True)
        for attempt in range(1000):
            suffix = f"-{attempt}" if attempt else ""
            folder = CampaignFolder(results / f"{name}-{stamp}{suffix}")
            try:
                folder.path.mkdir()
            except FileExistsError:
                continue
            try:
                folder.trials.mkdir()
                write_atomically(
                    folder.path / _PLAN, _json({"format": FORMAT, "campaign": folder.name} | plan)
                )
            except OSError:
                shutil.rmtree(folder.path, ignore_errors=True)
                raise
            return folder
    raise InfrastructureError(f"{results} has a thousand campaigns of this second")


def find_campaign(results: Path, name: str | None, target: str) -> CampaignFolder:
    """The campaign of that name or path, or the newest one of the target. Raises UsageError."""
    if name:
        for path in (results / name, Path(name)):
            if (path / _PLAN).is_file():
                return CampaignFolder(path.resolve())
        raise UsageError(f"there is no campaign {name!r} in {results}")
    found = []
    for path in results.glob(f"*/{_PLAN}"):
        folder = CampaignFolder(path.parent)
        with suppress(UsageError):  # of another version of the harness
            plan = folder.plan()
            if plan.get("target") == target:
                found.append((plan["created"], folder.name, folder))
    if not found:
        raise UsageError(f"there is no campaign of {target} in {results} to resume")
    return max(found)[-1]


def counted_trials(lines: list[Line]) -> list[tuple[int, str, str]]:
    """Block, arm and verdict of each trial in the ledger."""
    return [(line["block"], line["arm"], line["verdict"]) for line in lines]


def _json(content: object) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()
