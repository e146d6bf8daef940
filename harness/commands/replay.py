# SPDX-License-Identifier: BSD-2-Clause
"""`harness replay`: a recorded trial once more."""

import asyncio
import json
from pathlib import Path

import click
from rich.console import Console

from harness.errors import ExitCode
from harness.paths import cache_folder, project_folder
from harness.reports.terminal import TerminalWatcher, say_to
from harness.trials.replay import replay_trial


@click.command()
@click.argument("trial", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the new trial's record on stdout.")
def command(trial: Path, as_json: bool) -> int:
    """Run a recorded TRIAL (results/<campaign>/trials/<arm>-<NNNN>) again, seed and all."""
    console = Console(stderr=True)
    watcher = TerminalWatcher(console)
    with watcher:
        outcome = asyncio.run(replay_trial(trial, project_folder(), cache_folder(), watcher))
    say = say_to(console)
    say(f"then: {outcome.before}; now: {outcome.record.verdict} ({outcome.record.reason})")
    say(f"evidence: {outcome.folder}")
    if as_json:
        click.echo(json.dumps(outcome.as_json(), indent=2))
    return ExitCode.HOLDS if outcome.same else ExitCode.FAILS
