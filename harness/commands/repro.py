# SPDX-License-Identifier: BSD-2-Clause
"""`harness repro`: a campaign of a target."""

from pathlib import Path

import click

from harness.commands.campaigns import CampaignOptions, campaign_options, run_or_resume
from harness.commands.defaults import DEFAULT_TARGET
from harness.errors import UsageError
from harness.kernels.override import parse_sources
from harness.paths import cache_folder, project_folder
from harness.plan.load import chosen_guest, load_guest, load_target
from harness.trials.prepare import Request
from harness.trials.start import Options


@click.command()
@click.argument("target", default=DEFAULT_TARGET)
@click.option("--guest", help="Guest config to run on (default: the target's first).")
@click.option("--arch", help="Architecture to run on, where the target has a guest of it.")
@click.option("--trials", type=click.IntRange(1), help="Exactly so many trials per arm.")
@click.option("--arms", default="", help="Arms beside buggy and fixed: names with commas, or all.")
@click.option(
    "--source", metavar="TREE",
    help="Build the target's kernels from this tree, with the target's patches: DIR, DIR@REF or "
    "GIT-URL@REF. With @REF_BUGGY..REF_FIXED: each arm from a tree of its own, not patched.",
)  # fmt: skip
@click.option("--source-buggy", metavar="TREE", help="The tree of the buggy arm, not patched.")
@click.option("--source-fixed", metavar="TREE", help="The tree of the fixed arm, not patched.")
@click.option("--no-failpoints", is_flag=True, help="Run buggy and fixed without failpoints.")
@campaign_options
def command(
    campaign: CampaignOptions,
    target: str,
    guest: str | None,
    arch: str | None,
    trials: int | None,
    arms: str,
    source: str | None,
    source_buggy: str | None,
    source_fixed: str | None,
    no_failpoints: bool,
) -> int:
    """Reproduce TARGET on its buggy kernel and show its fixed kernel clean."""
    trees = parse_sources(source, source_buggy, source_fixed)
    if campaign.resume is not None and trees is not None:
        raise UsageError("--resume goes on with the source that the campaign began with")

    def planned() -> tuple[Request, Options]:
        project = project_folder()
        loaded = load_target(project, target)
        name = _guest_name(project, loaded.model.guests, guest, arch)
        request = Request(
            target=loaded,
            guest=chosen_guest(project, name, campaign.image, campaign.image_sha256),
            project=project,
            cache=cache_folder(),
            failpoints=not no_failpoints,
            arms=tuple(name for name in arms.split(",") if name),
            source=trees,
            compile=campaign.where,
            debugger_commands=campaign.ddb,
        )
        return request, campaign.for_trials(trials)

    return run_or_resume(campaign, target, planned)


def _guest_name(project: Path, guests: list[str], guest: str | None, arch: str | None) -> str:
    if guest is not None:
        return guest
    if arch is None:
        return guests[0]
    for name in guests:
        if load_guest(project, name).model.arch == arch:
            return name
    raise UsageError(f"the target has no guest of the architecture {arch}; it has: {guests}")
