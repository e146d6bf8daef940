# SPDX-License-Identifier: BSD-2-Clause
"""`harness doctor`: what this host lacks."""

import click
from rich.console import Console

from harness.doctor import examine_host
from harness.errors import ExitCode
from harness.paths import project_folder
from harness.reports.terminal import say_to


@click.command()
def command() -> int:
    """Say what this host can run, what is missing, and the command that mends it."""
    say = say_to(Console())
    findings = examine_host(project_folder())
    for finding in findings:
        mark = "ok     " if finding.ok else "note   " if finding.optional else "missing"
        say(f"{mark} {finding.what}: {finding.found}")
        if not finding.ok and finding.mend:
            say(f"        mend it with: {finding.mend}")
    return ExitCode.HOLDS if all(f.ok or f.optional for f in findings) else ExitCode.INFRASTRUCTURE
