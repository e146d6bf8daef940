# SPDX-License-Identifier: BSD-2-Clause
"""`harness places`: where the places of a target are."""

import asyncio

import click
from rich.console import Console

from harness.commands.defaults import DEFAULT_TARGET
from harness.errors import ExitCode, UsageError
from harness.paths import cache_folder, project_folder
from harness.places.show import render
from harness.plan.load import load_guest, load_target
from harness.reports.terminal import say_to
from harness.trials.prepare import Request, find_places


@click.command()
@click.argument("target", default=DEFAULT_TARGET)
@click.option("--guest", help="Guest config whose kernels to look in (default: the first).")
@click.option("--kernel", "only", help="One of the target's kernels (default: all).")
def command(target: str, guest: str | None, only: str | None) -> int:
    """Show where each place of TARGET is in its kernels, with the code around it."""
    project = project_folder()
    loaded = load_target(project, target)
    chosen = load_guest(project, guest or loaded.model.guests[0])
    request = Request(loaded, chosen, project, cache_folder())
    say = say_to(Console(stderr=True))
    missing = False
    there = [name for name, on in loaded.model.kernels.items() if chosen.known_as in on]
    if only is not None and only not in there:
        raise UsageError(f"no kernel {only!r} on {chosen.known_as}; there: {', '.join(there)}")
    for kernel in [only] if only else there:
        click.echo(f"== kernel {kernel}")
        found = asyncio.run(find_places(request, kernel, say))
        for name, place in found:
            missing |= isinstance(place, str)
            click.echo(place if isinstance(place, str) else render(place, name))
    return ExitCode.FAILS if missing else ExitCode.HOLDS
