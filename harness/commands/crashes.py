# SPDX-License-Identifier: BSD-2-Clause
"""The commands of `harness crashes`: look into a console, score the parser."""

import json
from pathlib import Path

import click

from harness.crashes.detect import detect_system
from harness.crashes.report import Report
from harness.crashes.rules import GRAMMARS
from harness.crashes.score import COUNTS, Score, score_directory, total
from harness.crashes.stream import parse_console
from harness.errors import UsageError

_FRAMES_SHOWN = 12


@click.group()
def command() -> None:
    """Crash reports in consoles: find them, and score the finder."""


@command.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON instead.")
def score(directory: Path, as_json: bool) -> None:
    """Score the parser on DIRECTORY, whose logs say in headers what is right."""
    scores = score_directory(directory)
    if as_json:
        whole = total(scores)
        click.echo(json.dumps({key: getattr(whole, key) for key in COUNTS}))
        return
    for system, part in sorted(scores.items()):
        for disagreement in part.disagreements:
            click.echo(
                f"{system} {Path(disagreement.name).name}: {disagreement.what}: "
                f"expected {disagreement.expected!r}, found {disagreement.found!r}"
            )
        click.echo(_summary(system, part))


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list instead.")
@click.option(
    "--system", type=click.Choice(list(GRAMMARS)), help="Whose console it is; else detected."
)
def parse(file: Path, as_json: bool, system: str | None) -> None:
    """Show the crash reports in FILE, a raw console."""
    try:
        console = file.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the console {file}: {error.strerror}") from error
    reports = parse_console(console, system or detect_system(console))
    if as_json:
        click.echo(json.dumps([_as_data(report) for report in reports]))
        return
    if not reports:
        click.echo("no crash report found")
    for report in reports:
        click.echo(_as_text(report))


def _summary(system: str, part: Score) -> str:
    def share(count: int) -> str:
        return f"{count} ({100 * count / part.expected:.1f} %)" if part.expected else str(count)

    return (
        f"{system}: {part.logs} logs, {part.expected} with a crash: found {share(part.found)}, "
        f"exact title {share(part.exact_title)}, same bug {share(part.same_bug)}, "
        f"corrupted right {share(part.corrupted_right)}; false reports {part.false_reports}"
    )


def _as_data(report: Report) -> dict[str, object]:
    return {
        "title": report.title,
        "alt_titles": list(report.alt_titles),
        "kind": report.kind.value,
        "function": report.function,
        "corrupted": report.corrupted,
        "start": report.start,
        "end": report.end,
    }


def _as_text(report: Report) -> str:
    state = [
        "fatal" if report.fatal else "the kernel goes on",
        "complete" if report.complete else "cut off",
    ]
    if report.corrupted_reason:
        state.append(f"corrupted: {report.corrupted_reason}")
    lines = [
        report.title,
        f"  {report.kind.value}, bytes {report.start} to {report.end}, {', '.join(state)}",
    ]
    if report.function:
        lines.append(f"  guilty: {report.function}")
    names = [frame.function for frame in report.frames if frame.reliable]
    if names:
        more = " …" if len(names) > _FRAMES_SHOWN else ""
        lines.append(f"  stack: {' < '.join(names[:_FRAMES_SHOWN])}{more}")
    return "\n".join(lines)
