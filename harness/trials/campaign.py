# SPDX-License-Identifier: BSD-2-Clause
"""A campaign: trials of all arms in random blocks until the stop rule or the budget ends it."""

import hashlib
import shutil
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from itertools import count

from harness.console.guest_channel import CommandFailedError
from harness.errors import GuestError, InfrastructureError
from harness.places.image import LoadedModule
from harness.qemu.guest import GuestFiles, started_guest
from harness.qemu.snapshot import Snapshot, memory_of, save_snapshot, snapshot_storage
from harness.stats.alone import decide_alone
from harness.stats.schedule import block_order
from harness.stats.sequential import Decision, StopRule, blocks_of, decide
from harness.trials.adjust import adjust_guest
from harness.trials.arm import PreparedArm
from harness.trials.events import Watcher
from harness.trials.external import find_modules
from harness.trials.ledger import Ledger, open_ledger
from harness.trials.record import CampaignFolder, counted_trials
from harness.trials.summary import summarise
from harness.trials.trial import run_trial
from harness.trials.verdict import Verdict

_BOOT_TRIES = 3


class TooManyVoidsError(InfrastructureError):
    """Trials fail for reasons of the harness or the guest's boot, not of the race."""


@dataclass(frozen=True)
class CampaignRules:
    """How a campaign is run; `voids` is how many in a row, in one place, end it."""

    seed: int
    stop: StopRule
    voids: int
    use_snapshots: bool
    only_arm: bool = False
    """Whether there is one arm, and nothing to compare it with."""


def trial_seed(seed: int, arm: str, number: int) -> int:
    """A trial's own seed of 63 bits, from the campaign's: SHA-256, so no two are related."""
    digest = hashlib.sha256(f"{seed}/{arm}/{number}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


async def run_campaign(
    folder: CampaignFolder, arms: list[PreparedArm], rules: CampaignRules, watcher: Watcher
) -> Decision:
    """Runs trials until the stop rule says so; goes on where the ledger ends.

    Raises TooManyVoidsError, InfrastructureError; then everything recorded is safe, and so it is
    when the task is cancelled.
    """
    by_name = {arm.name: arm for arm in arms}
    with open_ledger(folder.ledger) as ledger:
        folder.recover(ledger)
        decision = _decide(ledger, rules)
        watcher.campaign(folder.name, rules.stop, list(by_name))
        try:
            async with AsyncExitStack() as stack:
                snapshots = Snapshots(stack, folder, watcher, list(by_name.values()))
                for block in count():
                    if _may_stop(decision, rules.stop) or (
                        decision.stop and not _has_begun(ledger, block)
                    ):
                        break
                    for name in block_order(rules.seed, block, list(by_name)):
                        if _is_counted(ledger, block, name) or _may_stop(decision, rules.stop):
                            continue
                        arm = by_name[name]
                        if rules.use_snapshots:
                            arm = await snapshots.started_from(arm)
                        decision = await _fill_slot(folder, ledger, arm, block, rules, watcher)
        finally:
            folder.write_summary(summarise(folder.plan(), ledger.lines, decision))
    return decision


def _decide(ledger: Ledger, rules: CampaignRules) -> Decision:
    trials = counted_trials(ledger.lines)
    if rules.only_arm:
        return decide_alone(rules.stop, [verdict for _, _, verdict in trials])
    return decide(rules.stop, blocks_of(trials))


def _is_counted(ledger: Ledger, block: int, arm: str) -> bool:
    return any(
        line["block"] == block and line["arm"] == arm and line["verdict"] != Verdict.VOID
        for line in ledger.lines
    )


def _has_begun(ledger: Ledger, block: int) -> bool:
    """A block that has begun is completed, so that the side arms get as many trials."""
    return any(line["block"] == block for line in ledger.lines)


def _may_stop(decision: Decision, stop: StopRule) -> bool:
    """A fixed arm that failed ends the campaign at once; what holds ends with its block."""
    return decision.stop and decision.claim == "fails" and not stop.every_trial


async def _fill_slot(
    folder: CampaignFolder,
    ledger: Ledger,
    arm: PreparedArm,
    block: int,
    rules: CampaignRules,
    watcher: Watcher,
) -> Decision:
    """One counted trial, however many voids it takes up to the limit."""
    for _ in range(rules.voids):
        number = 1 + sum(line["arm"] == arm.name for line in ledger.lines)
        watcher.trial_starts(arm.name, number)
        unfinished = folder.start_trial(arm.name, number)
        try:
            seed = trial_seed(rules.seed, arm.name, number)
            record = await run_trial(arm, number, block, seed, unfinished)
            folder.finish_trial(unfinished, record, ledger)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        decision = _decide(ledger, rules)
        watcher.trial_ends(record, decision)
        if record.verdict != Verdict.VOID:
            return decision
    raise TooManyVoidsError(
        f"{rules.voids} void trials in a row in the arm {arm.name}, the last one: {record.reason}"
    )


class Snapshots:
    """One snapshot for each kernel and image, made when it is first asked for."""

    def __init__(
        self,
        stack: AsyncExitStack,
        folder: CampaignFolder,
        watcher: Watcher,
        arms: Sequence[PreparedArm],
    ) -> None:
        self._stack = stack
        self._folder = folder
        self._watcher = watcher
        self._arms = arms
        self._made: dict[tuple[object, ...], tuple[Snapshot, dict[str, LoadedModule]]] = {}

    async def started_from(self, arm: PreparedArm) -> PreparedArm:
        """The arm with the snapshot that its trials start from, and its places as they are there.

        Between one boot and the next a module may come to lie elsewhere.
        """
        key = _boot_key(arm)
        if key not in self._made:
            storage = self._stack.enter_context(snapshot_storage(arm.plan.machine.memory_nodes))
            self._watcher.say(f"booting {arm.kernel.label} for a snapshot")
            evidence, modules = await self._make(arm, storage)
            self._made[key] = (replace(storage, console=evidence.console), modules)
        snapshot, modules = self._made[key]
        failpoints = arm.failpoints.moved(modules) if arm.failpoints is not None else None
        return replace(arm, snapshot=snapshot, failpoints=failpoints)

    async def _make(
        self, arm: PreparedArm, storage: Snapshot
    ) -> tuple[GuestFiles, dict[str, LoadedModule]]:
        places = [
            other.failpoints.modules
            for other in self._arms
            if other.failpoints is not None and _boot_key(other) == _boot_key(arm)
        ]
        wanted = {name: module for modules in places for name, module in modules.items()}
        evidence = self._folder.path / "boots" / arm.name
        evidence.mkdir(parents=True, exist_ok=True)
        files = GuestFiles.within(evidence)
        for attempt in range(1, _BOOT_TRIES + 1):
            try:
                async with started_guest(
                    arm.plan, files, memory=memory_of(storage), overlay=storage.disk_path
                ) as guest:
                    await guest.set_up(arm.image.setup)
                    await adjust_guest(guest, arm)
                    modules = await find_modules(wanted, guest.channel)
                    await save_snapshot(guest.monitor, storage)
                return files, modules
            except GuestError as error:
                if isinstance(error, CommandFailedError):  # the next boot would say the same
                    raise InfrastructureError(
                        f"{arm.kernel.label} could not be made ready: {error}\n"
                        f"  its console is in {evidence}"
                    ) from error
                if attempt == _BOOT_TRIES:
                    raise InfrastructureError(
                        f"{arm.kernel.label} could not be booted {_BOOT_TRIES} times in a row; "
                        f"the last time: {error}\n  its console is in {evidence}"
                    ) from error
                self._watcher.say(f"boot {attempt} of {arm.kernel.label} failed; trying again")
        raise AssertionError("unreachable: the last try returns or raises")


def _boot_key(arm: PreparedArm) -> tuple[object, ...]:
    """Arms of one key start from one snapshot."""
    return (arm.plan.boot, arm.image.setup)
