# SPDX-License-Identifier: BSD-2-Clause
"""The end of a command that ran a campaign: its summary for people or programs, its exit code."""

import json

import click
from rich.console import Console

from harness.errors import ExitCode
from harness.reports.terminal import print_summary
from harness.trials.record import CampaignFolder

_CLAIM_CODES = {
    "holds": ExitCode.HOLDS,
    "fails": ExitCode.FAILS,
    "inconclusive": ExitCode.INCONCLUSIVE,
    "clean": ExitCode.HOLDS,
    "seen": ExitCode.FAILS,
}


def finish(console: Console, folder: CampaignFolder, as_json: bool) -> ExitCode:
    """Prints the campaign's summary, as JSON on stdout too if asked for; the exit code."""
    summary = folder.summary()
    print_summary(console, summary, str(folder.path))
    if as_json:
        click.echo(json.dumps(summary, indent=2))
    return _CLAIM_CODES[summary["claim"]]
