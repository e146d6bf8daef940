# SPDX-License-Identifier: BSD-2-Clause
"""A recorded trial run again: the same kernel, arm, seed and start."""

import json
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.trials.campaign import Snapshots
from harness.trials.events import Watcher
from harness.trials.prepare import prepare_arms
from harness.trials.record import CampaignFolder
from harness.trials.recorded import recorded_request
from harness.trials.start import inputs_hash
from harness.trials.trial import TrialRecord, run_trial

_NEEDED = ("arm", "number", "block", "seed", "start", "verdict")
"""What of a trial's record says how to run it again, and what came of it."""


@dataclass(frozen=True)
class Replay:
    """The verdict of before, and the new trial."""

    before: str
    record: TrialRecord
    folder: Path

    @property
    def same(self) -> bool:
        """Whether the verdict is the same; races need not be."""
        return self.before == self.record.verdict

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {"before": self.before, "same": self.same, "folder": str(self.folder)} | asdict(
            self.record
        )


async def replay_trial(trial: Path, project: Path, cache: Path, watcher: Watcher) -> Replay:
    """Runs the trial in a new folder under the campaign's `replays/`. Raises HarnessError."""
    before = _record_of(trial)
    campaign = CampaignFolder(trial.resolve().parent.parent)
    plan = campaign.plan()
    request = recorded_request(plan, project, cache, arms=[before["arm"]])
    arm = next(arm for arm in await prepare_arms(request, watcher.say) if arm.name == before["arm"])
    if inputs_hash(request) != plan["inputs"]:
        watcher.say("note: target, guest config or workload are others than then")
    if arm.kernel.identity != plan["arms"][arm.name]["kernel_identity"]:
        watcher.say(f"note: the kernel is another one than then: {arm.kernel.label}")
    folder = _new_folder(campaign.path / "replays", trial.resolve().name)
    async with AsyncExitStack() as stack:
        if before["start"] == "snapshot":
            # its boot's console goes beside the replay: the campaign's own is evidence
            snapshots = Snapshots(stack, CampaignFolder(folder), watcher, [arm])
            arm = await snapshots.started_from(arm)
        watcher.say(f"replaying {trial.name} with seed {before['seed']}")
        record = await run_trial(arm, before["number"], before["block"], before["seed"], folder)
    (folder / "trial.json").write_text(json.dumps(asdict(record), indent=2) + "\n")
    return Replay(before["verdict"], record, folder)


def _record_of(trial: Path) -> dict[str, Any]:
    """What of a trial.json a replay needs. Raises UsageError where it is not there."""
    file = trial / "trial.json"
    try:
        record = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"{trial} is no trial's folder: {error}") from error
    if not isinstance(record, dict):
        raise UsageError(f"{file} is no trial's record: expected an object, found {record!r:.40}")
    if missing := [key for key in _NEEDED if key not in record]:
        raise UsageError(f"{file} is no trial's record: it has no {', '.join(missing)}")
    return record


def _new_folder(parent: Path, name: str) -> Path:
    parent.mkdir(exist_ok=True)
    number = 1
    while (folder := parent / f"{name}-{number}").exists():
        number += 1
    folder.mkdir()
    return folder
