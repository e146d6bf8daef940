# SPDX-License-Identifier: BSD-2-Clause
"""The command `harness symbolize`: source files and lines into a console log."""

from pathlib import Path

import click

from harness.console.text import printable
from harness.errors import UsageError
from harness.symbolize import SourceLines, symbolize_lines


@click.command()
@click.argument("log", type=click.Path(path_type=Path))
@click.argument("elf", type=click.Path(path_type=Path))
def command(log: Path, elf: Path) -> None:
    """Print LOG with file and line at every frame, from the DWARF of ELF (a vmlinux)."""
    try:
        # a console's bytes are hostile: no escape sequence reaches the user's terminal
        lines = printable(log.read_bytes()).splitlines()
    except OSError as error:
        raise UsageError(f"cannot read the log {log}: {error.strerror}") from error
    for line in symbolize_lines(lines, SourceLines.open(elf)):
        click.echo(line)
