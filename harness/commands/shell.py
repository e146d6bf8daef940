# SPDX-License-Identifier: BSD-2-Clause
"""`harness shell`: a prompt in a guest."""

import asyncio
from pathlib import Path

import click
from rich.console import Console

from harness.commands.defaults import DEFAULT_TARGET
from harness.errors import UsageError
from harness.kernels.override import parse_sources
from harness.paths import cache_folder, project_folder, results_folder
from harness.plan.load import Guest, chosen_guest, full_image_like, load_target, target_names
from harness.reports.terminal import say_to
from harness.trials.prepare import CompileWhere, Request
from harness.trials.record import find_campaign
from harness.trials.recorded import recorded_request
from harness.trials.shell import run_shell


class _CommandAfterDashes(click.Command):
    """A command that keeps what follows `--` apart from its own arguments."""

    def parse_args(self, context: click.Context, arguments: list[str]) -> list[str]:
        own, rest = arguments, []
        if "--" in arguments:
            at = arguments.index("--")
            own, rest = arguments[:at], arguments[at + 1 :]
        context.meta["harness.command"] = rest
        return super().parse_args(context, own)

    def collect_usage_pieces(self, context: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(context), "[-- COMMAND...]"]


@click.command(cls=_CommandAfterDashes)
@click.argument("guest", default="linux-x86_64")
@click.option(
    "--target", help="Target whose kernels and files to use (default: the first that has GUEST)."
)
@click.option("--kernel", help="Which of the target's kernels to boot (default: buggy).")
@click.option("--campaign", help="Boot what this campaign (of `harness run`, say) did.")
@click.option("--ssh", is_flag=True, help="Boot the full image that is like GUEST, over SSH.")
@click.option("--source", metavar="TREE", help="Build the kernel from this tree, as repro does.")
@click.option("--image", metavar="FILE|URL", help="The VM image to boot (FreeBSD's own).")
@click.option("--image-sha256", metavar="HEX", help="What that file's SHA-256 must be.")
@click.option(
    "--compile",
    "where",
    type=click.Choice(["guest", "host"]),
    help="Where the target's workload is compiled, as repro does.",
)
@click.pass_context
def command(
    context: click.Context,
    guest: str,
    target: str | None,
    kernel: str | None,
    campaign: str | None,
    ssh: bool,
    source: str | None,
    image: str | None,
    image_sha256: str | None,
    where: CompileWhere | None,
) -> int:
    """Boot GUEST and give a prompt in it, or run COMMAND there and end with its status."""
    command = " ".join(context.meta["harness.command"])
    project = project_folder()
    guest = full_image_like(project, guest) if ssh else guest
    if campaign is not None:
        plan = find_campaign(results_folder(), campaign, target or DEFAULT_TARGET).plan()
        request = recorded_request(plan, project, cache_folder())
    else:
        chosen = chosen_guest(project, guest, image, image_sha256)
        request = Request(
            load_target(project, target or _target_on(project, chosen)),
            chosen,
            project,
            cache_folder(),
            source=parse_sources(source, None, None),
            compile=where,
        )
    kernels = request.target.model.kernels
    kernel = kernel or ("buggy" if "buggy" in kernels else next(iter(kernels)))
    return asyncio.run(run_shell(request, kernel, command, say_to(Console(stderr=True))))


def _target_on(project: Path, guest: Guest) -> str:
    """A target that runs on the guest, the default one if it does. Raises UsageError."""
    names = sorted(target_names(project), key=lambda name: (name != DEFAULT_TARGET, name))
    for name in names:
        if guest.known_as in load_target(project, name).model.guests:
            return name
    raise UsageError(f"no target runs on {guest.name}; --campaign boots what harness run did")
