# SPDX-License-Identifier: BSD-2-Clause
"""What `harness repro` and `harness run` share: options of any campaign, its start, its resume."""

import asyncio
import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.console import Console

from harness.paths import cache_folder, project_folder, results_folder
from harness.reports.finish import finish
from harness.reports.terminal import TerminalWatcher
from harness.trials.prepare import CompileWhere, Request
from harness.trials.record import find_campaign
from harness.trials.start import Options, resume_campaign, start_campaign

_KEPT = frozenset({"target", "resume", "results", "as_json"})
"""Parameters that mean something where a campaign goes on."""

_OPTIONS = (
    click.option(
        "--image", metavar="FILE|URL",
        help="Run on this VM image (FreeBSD's own), in the full-image guest that is like GUEST.",
    ),
    click.option("--image-sha256", metavar="HEX", help="What that file's SHA-256 must be."),
    click.option(
        "--compile", "where", type=click.Choice(["guest", "host"]),
        help="Compile the workload in a guest of its architecture (the default, where it has a "
        "compiler) or on the host.",
    ),
    click.option(
        "--confidence", type=click.FloatRange(0.5, 1, max_open=True), help="Of intervals and claim."
    ),
    click.option("--seed", type=int, help="Seed of the whole campaign (default: a random one)."),
    click.option("--cold-boot", is_flag=True, help="Boot for every trial; restore no snapshot."),
    click.option(
        "--dump-memory", is_flag=True, help="Keep the memory of guests that crash or hang."
    ),
    click.option(
        "--ddb", multiple=True, metavar="COMMAND",
        help="Ask the kernel's debugger this after a crash or hang (FreeBSD), in place of what the "
        "target asks.",
    ),
    click.option("--results", type=click.Path(path_type=Path), help="Folder of the campaigns."),
    click.option(
        "--resume", is_flag=False, flag_value="", default=None, metavar="[CAMPAIGN]",
        help="Go on with a campaign (default: the newest of its kind).",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON on stdout."),
)  # fmt: skip


@dataclass(frozen=True)
class CampaignOptions:
    """The values of these options."""

    image: str | None
    image_sha256: str | None
    where: CompileWhere | None
    confidence: float | None
    seed: int | None
    cold_boot: bool
    dump_memory: bool
    ddb: tuple[str, ...]
    results: Path | None
    resume: str | None
    as_json: bool

    def for_trials(self, trials: int | None) -> Options:
        """What a new campaign is started with."""
        return Options(trials, self.confidence, self.seed, self.cold_boot, self.dump_memory)


def campaign_options(command: Callable[..., int]) -> Callable[..., int]:
    """Gives a command these options, which it finds in one value, its parameter `campaign`."""

    @functools.wraps(command)
    def collected(**values: Any) -> int:
        mine = {field.name: values.pop(field.name) for field in fields(CampaignOptions)}
        return command(campaign=CampaignOptions(**mine), **values)

    decorated: Callable[..., int] = collected
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def run_or_resume(
    campaign: CampaignOptions, target: str, planned: Callable[[], tuple[Request, Options]]
) -> int:
    """Runs the campaign that `planned` makes, or goes on with one of `target`; the exit code.

    Raises HarnessError.
    """
    project, cache = project_folder(), cache_folder()
    results = campaign.results or results_folder()
    console = Console(stderr=True)
    if campaign.resume is not None:
        folder = find_campaign(results, campaign.resume or None, target)
        watcher = TerminalWatcher(console, before=folder.records())
        with watcher:
            if _is_planned_anew(click.get_current_context()):
                watcher.say("note: --resume keeps the campaign's plan; other options are unused")
            asyncio.run(resume_campaign(folder, project, cache, watcher))
    else:
        request, options = planned()
        watcher = TerminalWatcher(console)
        with watcher:
            folder = asyncio.run(start_campaign(request, options, results, watcher))
    return finish(console, folder, campaign.as_json)


def _is_planned_anew(context: click.Context) -> bool:
    """Whether an option was given that only a new campaign's plan is made of."""
    return any(
        context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        for name in context.params
        if name not in _KEPT
    )
