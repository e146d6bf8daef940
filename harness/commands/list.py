# SPDX-License-Identifier: BSD-2-Clause
"""`harness list`: what there is, and what this host can run."""

import json
from dataclasses import asdict

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.errors import ExitCode
from harness.paths import project_folder
from harness.plan.listing import list_targets
from harness.systems.registry import SYSTEMS

_PLAIN_WIDTH = 250


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
def command(as_json: bool) -> int:
    """Show targets, guests and kernels, and whether this host can run them."""
    rows = list_targets(project_folder(), lambda guest: SYSTEMS[guest.system].missing_tools(guest))
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=2))
        return ExitCode.HOLDS
    table = Table("target", "guest", "kernels", "runs here", box=None)
    for row in rows:
        kernels = "\n".join(f"{kind}: {name}" for kind, name in row.kernels.items())
        table.add_row(*map(Text, (row.target, row.guest, kernels, row.why_not or "yes")))
    console = Console()
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH  # nobody wants a pipe's lines folded
    console.print(table)
    return ExitCode.HOLDS
