# SPDX-License-Identifier: BSD-2-Clause
"""`harness run`: a kernel and a reproducer of the user's own, without a target."""

from pathlib import Path
from typing import Any

import click

from harness.commands.campaigns import CampaignOptions, campaign_options, run_or_resume
from harness.errors import UsageError
from harness.kernels.override import SourceOverride, parse_sources
from harness.paths import cache_folder, project_folder
from harness.plan.load import chosen_guest
from harness.plan.run import TARGET, RunOrder, target_of
from harness.systems.registry import SYSTEMS
from harness.trials.prepare import Request
from harness.trials.start import Options

_FILE = click.Path(path_type=Path)


@click.command()
@click.option("--guest", default="linux-x86_64", show_default=True, help="Guest config to run on.")
@click.option(
    "--kernel", type=_FILE,
    help="bzImage, Image or vmlinux; FreeBSD's kernel.full or kernel.bin; GNU Mach's gnumach "
    "(default: the guest's own package).",
)  # fmt: skip
@click.option("--vmlinux", type=_FILE, help="Its ELF file with DWARF, for places FILE.c:LINE.")
@click.option("--modules-dir", type=_FILE, help="The kernel's folder lib/modules/RELEASE.")
@click.option(
    "--source", metavar="TREE",
    help="Build the kernel from this tree with the harness's configuration: DIR, DIR@REF or "
    "GIT-URL@REF.",
)  # fmt: skip
@click.option("--config", multiple=True, type=_FILE, help="Config fragment for --source.")
@click.option("--initrd", type=_FILE, help="Boot this in place of the harness's: a boot test.")
@click.option("--append", multiple=True, help="Words for the kernel's command line.")
@click.option("--workload", type=_FILE, help="C file, or static program, to run in the guest.")
@click.option("--command", help="Shell command to run there ({workload}: the program).")
@click.option("--arg", "arguments", multiple=True, help="Argument of the workload ({seed}).")
@click.option("--cflag", "flags", multiple=True, help="Flag for the workload's compiler.")
@click.option("--modules", default="", help="Modules to load, names with commas.")
@click.option("--setup", multiple=True, help="Shell command to make the guest ready by.")
@click.option(
    "--failpoint", "failpoints", multiple=True, metavar="PLACE=SETTING",
    help="Such as 'do_swap_page:after(swap_readpage)=20%delay(5000)', or a fail point of the "
    "kernel's own, 'sysctl NAME=50%sleep(10)'.",
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
@campaign_options
def command(
    campaign: CampaignOptions,
    guest: str,
    modules_dir: Path | None,
    source: str | None,
    append: tuple[str, ...],
    modules: str,
    **order: Any,
) -> int:
    """Boot your own kernel, run your own reproducer, and say how often something goes wrong.

    Exit codes: 0 nothing was seen, 1 the symptom was seen, 3 something else went wrong, 2 usage,
    4 infrastructure, 130 interrupted.
    """
    tree = _one_tree(source)

    def planned() -> tuple[Request, Options]:
        project = project_folder()
        chosen = chosen_guest(project, guest, campaign.image, campaign.image_sha256)
        target = target_of(
            RunOrder(
                guest=chosen,
                offer=SYSTEMS[chosen.model.system].run_offer,
                source=tree.every.keys() if tree is not None and tree.every else None,
                modules_folder=modules_dir,
                append=[word for words in append for word in words.split()],
                modules=[name for name in modules.split(",") if name],
                **order,
            )
        )
        request = Request(
            target, chosen, project, cache_folder(), source=tree, compile=campaign.where,
            debugger_commands=campaign.ddb,
        )  # fmt: skip
        return request, campaign.for_trials(target.model.budget.trials)

    return run_or_resume(campaign, TARGET, planned)


def _one_tree(source: str | None) -> SourceOverride | None:
    """The tree to build. Raises UsageError, also for one of each arm: a run has one."""
    tree = parse_sources(source, None, None)
    if tree is not None and tree.every is None:
        raise UsageError(f"--source {source}: harness run has one kernel: name one REF")
    return tree
