# SPDX-License-Identifier: BSD-2-Clause
"""What the TCG plugin costs: CPU time armed and not hit, a hit's nanoseconds, a hold's precision.

    python bench/failpoint_overhead.py [--pairs N] [--qemu BINARY]
                                       [--kernel FILE --initrd FILE --append TEXT]

CPU time is compared in pairs, with and without the plugin one after the other, in alternating
order; with 64 points armed that the guest never comes to. Without --kernel the guest is the bare
one of tests/guest/bare, which computes for about a second; a kernel given must end QEMU by itself
(its initrd powers off). The last line is one JSON object.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "guest")]

from bare.machine import BareGuest, build_guest, missing_tools, point_addresses  # noqa: E402

from harness.qemu.plugin import (  # noqa: E402
    Action,
    ControlBlock,
    DelayRule,
    PluginPlan,
    Point,
    Term,
    build_plugin,
)

BURN_ROUNDS = 300_000
"""Of the bare guest's loop: about a second of CPU time."""
LINUX_TEXT = 0xFFFFFFFF81000000
HITS = 3_000_000
HOLDS = 40
RUN_TIMEOUT_S = 300


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the bench; prints what it measures, and the JSON line at the end."""
    options = parse(arguments)
    reason = missing_tools(options.qemu)
    if reason:
        print(f"cannot run: {reason}", file=sys.stderr)
        return 4
    with tempfile.TemporaryDirectory(prefix="failpoint-overhead-") as name:
        directory = Path(name)
        plugin = build_plugin(directory)
        bare = build_guest(directory)
        run = (
            linux_run(options, directory) if options.kernel else bare_run(options, bare, directory)
        )
        result = {
            "bench": "failpoint_overhead",
            "guest": options.kernel.name if options.kernel else "bare",
            "qemu": qemu_version(options.qemu),
            **overhead(
                run, unhit_plan(options.kernel is not None), plugin, directory, options.pairs
            ),
            **hit_cost(options.qemu, bare, plugin, directory),
            "holds_ms": [
                hold_precision(options.qemu, bare, plugin, directory, ms) for ms in (1, 5, 50)
            ],
        }
    print(json.dumps(result))
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, default=9, help="at least 7")
    parser.add_argument("--qemu", default="qemu-system-x86_64")
    parser.add_argument("--kernel", type=Path)
    parser.add_argument("--initrd", type=Path)
    parser.add_argument("--append", default="quiet panic=-1 no_timer_check")
    options = parser.parse_args(arguments)
    if options.pairs < 7:
        parser.error(f"--pairs {options.pairs}: expected at least 7")
    return options


Run = Callable[[list[str]], float]
"""Runs a guest to its end with more arguments of QEMU's; returns its CPU time in seconds."""


def bare_run(options: argparse.Namespace, bare: Path, directory: Path) -> Run:
    """Runs of the bare guest: boot, compute, exit."""

    def run(arguments: list[str]) -> float:
        with BareGuest(bare, arguments, directory, options.qemu) as guest:
            guest.run("k", BURN_ROUNDS, timeout_s=RUN_TIMEOUT_S)
            return guest.cpu_seconds()

    return run


def linux_run(options: argparse.Namespace, directory: Path) -> Run:
    """Runs of the kernel given: from the start of QEMU to its end."""

    def run(arguments: list[str]) -> float:
        command = [
            *(options.qemu, "-accel", "tcg,thread=multi", "-smp", "2", "-m", "256"),
            *("-nodefaults", "-display", "none", "-no-reboot", "-kernel", str(options.kernel)),
            *(("-initrd", str(options.initrd)) if options.initrd else ()),
            *("-append", options.append, *arguments),
        ]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, timeout=RUN_TIMEOUT_S, cwd=directory)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return run


def unhit_plan(linux: bool) -> PluginPlan:
    """64 points spread over the guest's code at odd places, with rules that would do nothing."""
    base, stride = (LINUX_TEXT, 0x20000) if linux else (0x200001, 0x40)
    points = tuple(Point(f"p{i}", (base + i * stride + 1,)) for i in range(64))
    rules = tuple(DelayRule(point.name, point.name, (Term(Action.OFF),)) for point in points)
    return PluginPlan(points, rules)


def overhead(
    run: Run, plan: PluginPlan, plugin: Path, directory: Path, pairs: int
) -> dict[str, object]:
    """CPU time with the plugin over that without, in pairs: the median ratio and its range."""
    without, with_plugin, hits = [], [], 0

    def run_with_plugin() -> None:
        nonlocal hits
        with ControlBlock.create(directory / "control", plan) as block:
            block.arm()
            with_plugin.append(run(block.qemu_arguments(plugin)))
            hits += sum(point.hits for point in block.statistics().points.values())

    run([])  # fills the host's caches
    for pair in range(pairs):
        if pair % 2:
            run_with_plugin()
        without.append(run([]))
        if not pair % 2:
            run_with_plugin()
        print(f"pair {pair}: {without[-1]:.3f} s without, {with_plugin[-1]:.3f} s with the plugin")
    ratios = sorted(b / a for a, b in zip(without, with_plugin, strict=True))
    return {
        "pairs": pairs,
        "overhead_ratio": round(statistics.median(ratios), 4),
        "overhead_ratio_range": [round(ratios[0], 4), round(ratios[-1], 4)],
        "cpu_s_without": round(statistics.median(without), 3),
        "cpu_s_with": round(statistics.median(with_plugin), 3),
        "hits": hits,
    }


def hit_cost(qemu: str, bare: Path, plugin: Path, directory: Path) -> dict[str, object]:
    """Nanoseconds of CPU time that a hit adds: disarmed, and armed without a rule."""
    address = point_addresses(bare)["probe"]

    def passes(guest: BareGuest) -> float:
        guest.run("a", HITS // 10)
        before = guest.cpu_seconds()
        guest.run("a", HITS, timeout_s=RUN_TIMEOUT_S)
        return guest.cpu_seconds() - before

    def measure() -> tuple[float, float, float]:
        with BareGuest(bare, [], directory, qemu) as guest:
            plain = passes(guest)
        plan = PluginPlan((Point("probe", (address,)),))
        with (
            ControlBlock.create(directory / "control", plan) as block,
            BareGuest(bare, block.qemu_arguments(plugin), directory, qemu) as guest,
        ):
            disarmed = passes(guest)
            block.arm()
            return plain, disarmed, passes(guest)

    measured = [measure() for _ in range(5)]
    plain, disarmed, armed = (statistics.median(column) for column in zip(*measured, strict=True))
    return {
        "disarmed_hit_ns": round((disarmed - plain) / HITS * 1e9, 1),
        "armed_hit_ns": round((armed - plain) / HITS * 1e9, 1),
    }


def hold_precision(
    qemu: str, bare: Path, plugin: Path, directory: Path, milliseconds: int
) -> dict[str, float]:
    """How long holds of a duration really last, in milliseconds."""
    address = point_addresses(bare)["probe"]
    rule = DelayRule("hold", "probe", (Term(Action.DELAY, milliseconds * 1000),))
    plan = PluginPlan((Point("probe", (address,)),), (rule,))
    with (
        ControlBlock.create(directory / "control", plan) as block,
        BareGuest(bare, block.qemu_arguments(plugin), directory, qemu) as guest,
    ):
        block.arm()
        guest.run("a", HOLDS, timeout_s=RUN_TIMEOUT_S)
        held = sorted(event.held_s * 1e3 for event in block.drain())
    return {
        "asked": milliseconds,
        "holds": len(held),
        "median": round(statistics.median(held), 4),
        "p95": round(held[int(0.95 * len(held))], 4),
        "longest": round(held[-1], 4),
    }


def qemu_version(qemu: str) -> str:
    """The first line of QEMU's --version."""
    done = subprocess.run([qemu, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0]


if __name__ == "__main__":
    sys.exit(main())
