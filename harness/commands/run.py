# SPDX-License-Identifier: BSD-2-Clause
"""`harness run`: a kernel and a reproducer of the user's own, without a target."""

import asyncio
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.console import Console

from harness.paths import cache_folder, project_folder, results_folder
from harness.plan.load import load_guest
from harness.plan.run import TARGET, RunOrder, target_of
from harness.reports.finish import finish
from harness.reports.terminal import TerminalWatcher
from harness.trials.prepare import CompileWhere, Request
from harness.trials.record import find_campaign
from harness.trials.start import Options, resume_campaign, start_campaign

_FILE = click.Path(path_type=Path)
_WITH_RESUME = frozenset({"resume", "results", "as_json"})
"""Parameters that mean something where a campaign goes on."""


@click.command()
@click.option("--guest", default="linux-x86_64", show_default=True, help="Guest config to run on.")
@click.option(
    "--kernel", type=_FILE, help="bzImage, Image or vmlinux (default: the guest's own package)."
)
@click.option("--vmlinux", type=_FILE, help="Its ELF file with DWARF, for places FILE.c:LINE.")
@click.option("--modules-dir", type=_FILE, help="The kernel's folder lib/modules/RELEASE.")
@click.option("--initrd", type=_FILE, help="Boot this in place of the harness's: a boot test.")
@click.option("--append", default="", help="Words for the kernel's command line.")
@click.option("--workload", type=_FILE, help="C file, or static program, to run in the guest.")
@click.option("--command", help="Shell command to run there ({workload}: the program).")
@click.option("--arg", "arguments", multiple=True, help="Argument of the workload ({seed}).")
@click.option("--cflag", "flags", multiple=True, help="Flag for the workload's compiler.")
@click.option("--modules", default="", help="Modules to load, names with commas.")
@click.option("--setup", multiple=True, help="Shell command to make the guest ready by.")
@click.option(
    "--failpoint", "failpoints", multiple=True, metavar="PLACE=SETTING",
    help="Such as 'do_swap_page:after(swap_readpage)=20%delay(5000)'.",
)  # fmt: skip
@click.option(
    "--order", "orders", multiple=True, metavar="'hold=PLACE until=PLACE …'",
    help="Whoever reaches one place waits until another was passed.",
)  # fmt: skip
@click.option("--mark", "marks", multiple=True, metavar="PLACE", help="Begins a new attempt.")
@click.option("--crash", "crashes", multiple=True, metavar="REGEX", help="Title of the crash.")
@click.option("--symptom", "symptoms", multiple=True, metavar="REGEX", help="Line of the output.")
@click.option("--must-end", is_flag=True, help="Still running after --seconds is a hang.")
@click.option("--trials", default=10, show_default=True, type=click.IntRange(1))
@click.option(
    "--seconds", default=60.0, show_default=True, type=click.FloatRange(0, min_open=True),
    help="Of a trial, at most.",
)  # fmt: skip
@click.option("--confidence", type=click.FloatRange(0.5, 1, max_open=True), help="Of the interval.")
@click.option("--seed", type=int, help="Seed of the whole campaign (default: a random one).")
@click.option("--compile", "where", type=click.Choice(["guest", "host"]), help="Where to compile.")
@click.option("--cold-boot", is_flag=True, help="Boot for every trial; restore no snapshot.")
@click.option("--dump-memory", is_flag=True, help="Keep the memory of guests that crash or hang.")
@click.option("--results", type=_FILE, help="Folder of the campaigns.")
@click.option(
    "--resume", is_flag=False, flag_value="", default=None, metavar="[CAMPAIGN]",
    help="Go on with a campaign (default: the newest run).",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON on stdout.")
def command(
    guest: str,
    modules_dir: Path | None,
    append: str,
    modules: str,
    where: CompileWhere | None,
    confidence: float | None,
    seed: int | None,
    cold_boot: bool,
    dump_memory: bool,
    results: Path | None,
    resume: str | None,
    as_json: bool,
    **order: Any,
) -> int:
    """Boot your own kernel, run your own reproducer, and say how often something goes wrong.

    Exit codes: 0 nothing was seen, 1 the symptom was seen, 3 something else went wrong, 2 usage,
    4 infrastructure, 130 interrupted.
    """
    project, cache = project_folder(), cache_folder()
    results = results or results_folder()
    console = Console(stderr=True)
    watcher = TerminalWatcher(console)
    if resume is not None:
        folder = find_campaign(results, resume or None, TARGET)
        watcher = TerminalWatcher(console, before=folder.records())
        with watcher:
            if _is_planned_anew(click.get_current_context()):
                watcher.say("note: --resume keeps the campaign's plan; other options are unused")
            asyncio.run(resume_campaign(folder, project, cache, watcher))
        return finish(console, folder, as_json)
    chosen = load_guest(project, guest)
    target = target_of(
        RunOrder(
            guest=chosen,
            modules_folder=modules_dir,
            append=append.split(),
            modules=[name for name in modules.split(",") if name],
            **order,
        )
    )
    request = Request(target, chosen, project, cache, compile=where)
    options = Options(target.model.budget.trials, confidence, seed, cold_boot, dump_memory)
    with watcher:
        folder = asyncio.run(start_campaign(request, options, results, watcher))
    return finish(console, folder, as_json)


def _is_planned_anew(context: click.Context) -> bool:
    """Whether an option was given that only a new campaign's plan is made of."""
    return any(
        context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        for name in context.params
        if name not in _WITH_RESUME
    )
