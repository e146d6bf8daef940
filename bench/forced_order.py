# SPDX-License-Identifier: BSD-2-Clause
"""How often a forced order is reached and effective, against the same attempts left alone.

Runs a case forced and without any failpoint, in trials of many attempts each on an unmodified
kernel; both kinds take turns in one run. A case is a target, with its arms `buggy` and
`buggy-free`, or a file beside this one, where no kernel is wrong. Prints one JSON line a case and
guest:
`forced_effective` and `unforced_effective` are fractions of the attempts that showed the symptom,
`timeouts` counts the holds that ended by their time-out instead of by their order.
"""

import asyncio
import json
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import click
from rich.console import Console

from harness.errors import InfrastructureError
from harness.paths import cache_folder, project_folder
from harness.plan.load import Target, load_case, load_guest, load_target
from harness.reports.terminal import TerminalWatcher
from harness.trials.arm import PreparedArm
from harness.trials.campaign import Snapshots, trial_seed
from harness.trials.prepare import Request, prepare_arms
from harness.trials.record import CampaignFolder
from harness.trials.trial import TrialRecord, run_trial

CASES = ("linux-swapin-aba", "torn_read")


@dataclass
class Tally:
    """Attempts of one kind so far."""

    attempts: int = 0
    effective: int = 0
    timeouts: int = 0

    def add(self, record: TrialRecord) -> None:
        """Counts a trial's attempts; a void trial ends the benchmark."""
        if record.verdict == "void":
            raise click.ClickException(f"a trial was void: {record.reason}")
        self.attempts += record.attempts - record.attempts_failed
        self.effective += record.attempts_reproduced
        self.timeouts += sum(rule["timed_out"] for rule in map(vars, record.failpoints.values()))


async def measure(arms: list[PreparedArm], trials: int, restore: bool) -> dict[str, Tally]:
    """Runs the trials in turns, restored or booted, and counts their attempts."""
    tallies = {arm.name: Tally() for arm in arms}
    watcher = TerminalWatcher(Console(stderr=True))
    with tempfile.TemporaryDirectory(prefix="harness-bench-") as name:
        async with AsyncExitStack() as stack:
            snapshots = Snapshots(stack, CampaignFolder(Path(name)), watcher, arms)
            for number in range(1, trials + 1):
                for arm in arms:
                    folder = Path(name) / f"{arm.name}-{number}"
                    folder.mkdir()
                    ready = await snapshots.started_from(arm) if restore else arm
                    seed = trial_seed(0, arm.name, number)
                    tallies[arm.name].add(await run_trial(ready, number, 0, seed, folder))
                print(f"{number} of {trials}: {tallies}", file=sys.stderr, flush=True)
    return tallies


def load(name: str) -> tuple[Target, str, str]:
    """A case by name, with its forced and its unforced arm."""
    file = Path(__file__).with_name(f"{name}.toml")
    if file.is_file():
        return load_case(file), "forced", "unforced"
    return load_target(project_folder(), name), "buggy", "buggy-free"


@click.command()
@click.option("--case", "cases", multiple=True, help=f"Default: {' and '.join(CASES)}.")
@click.option("--guest", "guests", multiple=True, help="Default: all of the case's.")
@click.option("--trials", default=10, type=click.IntRange(1))
@click.option("--attempts", default=100, type=click.IntRange(1), help="In each trial.")
def main(cases: tuple[str, ...], guests: tuple[str, ...], trials: int, attempts: int) -> None:
    """Measure how often a forced order is effective."""
    for name in cases or CASES:
        case, forced, unforced = load(name)
        for guest in case.model.guests:
            if not guests or guest in guests:
                print(json.dumps(measure_on(case, guest, forced, unforced, trials, attempts)))
                sys.stdout.flush()


def measure_on(
    case: Target, guest: str, forced: str, unforced: str, trials: int, attempts: int
) -> dict[str, object]:
    """One line of the result, or why it cannot be measured on this host."""
    project = project_folder()
    request = Request(
        case, load_guest(project, guest), project, cache_folder(), arms=(forced, unforced)
    )
    try:
        arms = asyncio.run(
            prepare_arms(request, lambda text: print(text, file=sys.stderr, flush=True))
        )
    except InfrastructureError as error:
        return {"case": case.name, "guest": guest, "skipped": str(error)}
    chosen = [
        replace(arm, workload_args=arm.workload_args | {"attempts": attempts})
        for arm in arms
        if arm.name in (forced, unforced)
    ]
    tallies = asyncio.run(measure(chosen, trials, request.guest.model.boot.snapshot))
    return {
        "case": case.name,
        "guest": guest,
        "attempts": tallies[forced].attempts,
        "forced_effective": tallies[forced].effective / tallies[forced].attempts,
        "unforced_attempts": tallies[unforced].attempts,
        "unforced_effective": tallies[unforced].effective / tallies[unforced].attempts,
        "timeouts": tallies[forced].timeouts,
    }


if __name__ == "__main__":
    main()
