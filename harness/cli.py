# SPDX-License-Identifier: BSD-2-Clause
"""The command line: arguments in, one call, exit code out."""

import asyncio
import json
import os
import signal
import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

import harness
from harness.console.text import printable_text
from harness.crashes.commands import crashes
from harness.doctor import examine_host
from harness.errors import ExitCode, HarnessError, UsageError
from harness.kernels.override import parse_sources
from harness.paths import cache_folder, project_folder, results_folder
from harness.places.show import render
from harness.plan.listing import list_targets
from harness.plan.load import full_image_like, load_guest, load_target
from harness.reports.finish import finish
from harness.reports.terminal import TerminalWatcher, say_to
from harness.run_command import run
from harness.symbolize_command import symbolize
from harness.trials.prepare import CompileWhere, Request, find_places
from harness.trials.record import find_campaign
from harness.trials.recorded import recorded_request
from harness.trials.replay import replay_trial
from harness.trials.shell import run_shell
from harness.trials.start import Options, resume_campaign, start_campaign

DEFAULT_TARGET = "linux-swapin-aba"
_PLAIN_WIDTH = 250
_EXIT_CODES = (
    "Exit codes: 0 the claim holds, 1 it does not, 2 usage or configuration, 3 inconclusive within "
    "the budget, 4 infrastructure, 130 interrupted. shell ends with the command's own status."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EXIT_CODES)
@click.version_option(harness.__version__, prog_name="harness")
def cli() -> None:
    """Reproduce kernel races under QEMU, and say how often they reproduce."""


cli.add_command(crashes)
cli.add_command(run)
cli.add_command(symbolize)


@cli.command()
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
@click.option("--no-failpoints", is_flag=True, help="Run buggy and fixed without failpoints.")
@click.option(
    "--compile", "where", type=click.Choice(["guest", "host"]),
    help="Compile the workload in a guest of its architecture (default) or on the host.",
)  # fmt: skip
@click.option("--cold-boot", is_flag=True, help="Boot for every trial; restore no snapshot.")
@click.option("--dump-memory", is_flag=True, help="Keep the memory of guests that crash or hang.")
@click.option("--results", type=click.Path(path_type=Path), help="Folder of the campaigns.")
@click.option(
    "--resume", is_flag=False, flag_value="", default=None, metavar="[CAMPAIGN]",
    help="Go on with a campaign (default: the target's newest).",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON on stdout.")
def repro(
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
    no_failpoints: bool,
    where: CompileWhere | None,
    cold_boot: bool,
    dump_memory: bool,
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
            if any((trials, confidence, seed is not None, arms, no_failpoints, where, cold_boot)):
                watcher.say("note: --resume keeps the campaign's plan; other options are unused")
            asyncio.run(resume_campaign(folder, project, cache, watcher))
    else:
        loaded = load_target(project, target)
        request = Request(
            target=loaded,
            guest=load_guest(project, _guest_name(project, loaded.model.guests, guest, arch)),
            project=project,
            cache=cache,
            failpoints=not no_failpoints,
            arms=tuple(name for name in arms.split(",") if name),
            source=trees,
            compile=where,
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


@cli.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
def list_(as_json: bool) -> int:
    """Show targets, guests and kernels, and whether this host can run them."""
    rows = list_targets(project_folder())
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


@cli.command()
def doctor() -> int:
    """Say what this host can run, what is missing, and the command that mends it."""
    say = say_to(Console())
    findings = examine_host(project_folder())
    for finding in findings:
        mark = "ok     " if finding.ok else "note   " if finding.optional else "missing"
        say(f"{mark} {finding.what}: {finding.found}")
        if not finding.ok and finding.mend:
            say(f"        mend it with: {finding.mend}")
    return ExitCode.HOLDS if all(f.ok or f.optional for f in findings) else ExitCode.INFRASTRUCTURE


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


@cli.command(cls=_CommandAfterDashes)
@click.argument("guest", default="linux-x86_64")
@click.option("--target", default=DEFAULT_TARGET, help="Target whose kernels and files to use.")
@click.option("--kernel", help="Which of the target's kernels to boot (default: buggy).")
@click.option("--campaign", help="Boot what this campaign (of `harness run`, say) did.")
@click.option("--ssh", is_flag=True, help="Boot the full image that is like GUEST, over SSH.")
@click.pass_context
def shell(
    context: click.Context,
    guest: str,
    target: str,
    kernel: str | None,
    campaign: str | None,
    ssh: bool,
) -> int:
    """Boot GUEST and give a prompt in it, or run COMMAND there and end with its status."""
    command = " ".join(context.meta["harness.command"])
    project = project_folder()
    guest = full_image_like(project, guest) if ssh else guest
    if campaign is not None:
        plan = find_campaign(results_folder(), campaign, target).plan()
        request = recorded_request(plan, project, cache_folder())
    else:
        request = Request(
            load_target(project, target), load_guest(project, guest), project, cache_folder()
        )
    kernels = request.target.model.kernels
    kernel = kernel or ("buggy" if "buggy" in kernels else next(iter(kernels)))
    return asyncio.run(run_shell(request, kernel, command, say_to(Console(stderr=True))))


@cli.command()
@click.argument("target", default=DEFAULT_TARGET)
@click.option("--guest", help="Guest config whose kernels to look in (default: the first).")
@click.option("--kernel", "only", help="One of the target's kernels (default: all).")
def places(target: str, guest: str | None, only: str | None) -> int:
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


@cli.command()
@click.argument("trial", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the new trial's record on stdout.")
def replay(trial: Path, as_json: bool) -> int:
    """Run a recorded TRIAL (results/<campaign>/trials/<arm>-<NNNN>) again, seed and all."""
    console = Console(stderr=True)
    watcher = TerminalWatcher(console)
    with watcher:
        outcome = asyncio.run(replay_trial(trial, project_folder(), cache_folder(), watcher))
    say = say_to(console)
    say(f"then: {outcome.before}; now: {outcome.record.verdict} ({outcome.record.reason})")
    say(f"evidence: {outcome.folder}")
    if as_json:
        click.echo(json.dumps(outcome.as_json(), indent=2))
    return ExitCode.HOLDS if outcome.same else ExitCode.FAILS


def main(arguments: list[str] | None = None) -> NoReturn:
    """Entry point of the console script."""
    # a shell starts its background jobs with SIGINT ignored; SIGTERM is to clean up as Ctrl-C does
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    sys.exit(_run(arguments))


def _run(arguments: list[str] | None) -> int:
    try:
        return int(cli.main(arguments, standalone_mode=False) or ExitCode.HOLDS)
    except (KeyboardInterrupt, asyncio.CancelledError, click.Abort):
        _complain("interrupted; what was recorded is safe: go on with --resume")
        return ExitCode.INTERRUPTED
    except click.ClickException as error:
        error.show()
        return ExitCode.USAGE
    except HarnessError as error:
        _complain(str(error))
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.INFRASTRUCTURE
    except OSError as error:
        _complain(f"{error.filename or 'the host'}: {error.strerror or error}")
        return ExitCode.INFRASTRUCTURE
    except Exception:
        # Python's own exit status for it is 1, which would say that the claim does not hold
        traceback.print_exc()
        _complain("that is a defect of the harness; what was recorded is safe")
        return ExitCode.INFRASTRUCTURE


def _complain(message: str) -> None:
    # it may quote what a guest said
    click.echo(f"harness: {printable_text(message)}", err=True)
