# SPDX-License-Identifier: BSD-2-Clause
"""`harness repro`: a campaign of a target."""

import asyncio
from pathlib import Path

import click
from rich.console import Console

from harness.commands.defaults import DEFAULT_TARGET
from harness.errors import UsageError
from harness.kernels.override import parse_sources
from harness.paths import cache_folder, project_folder, results_folder
from harness.plan.load import chosen_guest, load_guest, load_target
from harness.reports.finish import finish
from harness.reports.terminal import TerminalWatcher
from harness.trials.prepare import CompileWhere, Request
from harness.trials.record import find_campaign
from harness.trials.start import Options, resume_campaign, start_campaign


@click.command()
@click.argument("target", default=DEFAULT_TARGET)
@click.option("--guest", help="Guest config to run on (default: the target's first).")
@click.option("--arch", help="Architecture to run on, where the target has a guest of it.")
@click.option("--trials", type=click.IntRange(1), help="Exactly so many trials per arm.")
@click.option("--confidence", type=click.FloatRange(0.5, 1, max_open=True), help="Asked for.")
@click.option("--seed", type=int, help="Seed of the whole campaign (default: a random one).")
@click.option("--arms", default="", help="Arms beside buggy and fixed: names with commas, or all.")
@click.option(
    "--source", metavar="TREE",
    help="Build the target's kernels from this tree, with the target's patches: DIR, DIR@REF or "
    "GIT-URL@REF. With @REF_BUGGY..REF_FIXED: each arm from a tree of its own, not patched.",
)  # fmt: skip
@click.option("--source-buggy", metavar="TREE", help="The tree of the buggy arm, not patched.")
@click.option("--source-fixed", metavar="TREE", help="The tree of the fixed arm, not patched.")
@click.option(
    "--image", metavar="FILE|URL",
    help="Run on this VM image (FreeBSD's own), in the full-image guest that the target has.",
)  # fmt: skip
@click.option("--image-sha256", metavar="HEX", help="What that file's SHA-256 must be.")
@click.option("--no-failpoints", is_flag=True, help="Run buggy and fixed without failpoints.")
@click.option(
    "--compile", "where", type=click.Choice(["guest", "host"]),
    help="Compile the workload in a guest of its architecture (default) or on the host.",
)  # fmt: skip
@click.option("--cold-boot", is_flag=True, help="Boot for every trial; restore no snapshot.")
@click.option("--dump-memory", is_flag=True, help="Keep the memory of guests that crash or hang.")
@click.option(
    "--ddb", multiple=True, metavar="COMMAND",
    help="Ask the kernel's debugger this after a crash or hang, in place of what the target asks.",
)  # fmt: skip
@click.option("--results", type=click.Path(path_type=Path), help="Folder of the campaigns.")
@click.option(
    "--resume", is_flag=False, flag_value="", default=None, metavar="[CAMPAIGN]",
    help="Go on with a campaign (default: the target's newest).",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON on stdout.")
def command(
    target: str,
    guest: str | None,
    arch: str | None,
    trials: int | None,
    confidence: float | None,
    seed: int | None,
    arms: str,
    source: str | None,
    source_buggy: str | None,
    source_fixed: str | None,
    image: str | None,
    image_sha256: str | None,
    no_failpoints: bool,
    where: CompileWhere | None,
    cold_boot: bool,
    dump_memory: bool,
    ddb: tuple[str, ...],
    results: Path | None,
    resume: str | None,
    as_json: bool,
) -> int:
    """Reproduce TARGET on its buggy kernel and show its fixed kernel clean."""
    project, cache = project_folder(), cache_folder()
    results = results or results_folder()
    console = Console(stderr=True)
    trees = parse_sources(source, source_buggy, source_fixed)
    if resume is not None:
        if trees is not None:
            raise UsageError("--resume goes on with the source that the campaign began with")
        folder = find_campaign(results, resume or None, target)
        watcher = TerminalWatcher(console, before=folder.records())
        with watcher:
            planned = (trials, confidence, seed is not None, arms, no_failpoints, where, cold_boot)
            if any((*planned, ddb, image, image_sha256)):
                watcher.say("note: --resume keeps the campaign's plan; other options are unused")
            asyncio.run(resume_campaign(folder, project, cache, watcher))
    else:
        loaded = load_target(project, target)
        name = _guest_name(project, loaded.model.guests, guest, arch)
        request = Request(
            target=loaded,
            guest=chosen_guest(project, name, image, image_sha256),
            project=project,
            cache=cache,
            failpoints=not no_failpoints,
            arms=tuple(name for name in arms.split(",") if name),
            source=trees,
            compile=where,
            debugger_commands=ddb,
        )
        options = Options(trials, confidence, seed, cold_boot, dump_memory)
        watcher = TerminalWatcher(console)
        with watcher:
            folder = asyncio.run(start_campaign(request, options, results, watcher))
    return finish(console, folder, as_json)


def _guest_name(project: Path, guests: list[str], guest: str | None, arch: str | None) -> str:
    if guest is not None:
        return guest
    if arch is None:
        return guests[0]
    for name in guests:
        if load_guest(project, name).model.arch == arch:
            return name
    raise UsageError(f"the target has no guest of the architecture {arch}; it has: {guests}")
