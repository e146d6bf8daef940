# SPDX-License-Identifier: BSD-2-Clause
"""What it costs to have a guest ready, against a bare QEMU that boots the same kernel.

Paired in one run: a bare `qemu-system-x86_64` whose init powers off at once, a boot of the
harness's guest until its control channel answers, the same with the target's modules and swap set
up, and a restore of its snapshot until it answers. Costs are CPU seconds, user and system, of QEMU
and of the harness's own process together. Prints one JSON line at its end with the medians over
the pairs of the ratios to the bare boot.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median

import click

from harness.kernels.toolchain import compile_static
from harness.paths import cache_folder, project_folder
from harness.plan.load import load_guest, load_target
from harness.qemu.guest import GuestFiles, GuestPlan, started_guest
from harness.qemu.snapshot import Snapshot, memory_of, save_snapshot, snapshot_storage
from harness.systems.linux import cpio
from harness.trials.prepare import ReadyKernel, Request, prepare_kernel


def say(text: str) -> None:
    """Progress, apart from the result."""
    print(text, file=sys.stderr, flush=True)


def bare_boot(plan: GuestPlan, initrd: Path, folder: Path) -> float:
    """CPU seconds of a QEMU without any of the harness: boot, init, power off."""
    machine = plan.machine
    argv = [
        machine.binary, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-machine", machine.machine, "-cpu", machine.cpu, "-smp", str(machine.vcpus),
        "-m", str(machine.memory_mib), "-accel", machine.accelerator,
        "-kernel", str(plan.boot.kernel), "-initrd", str(initrd),
        "-append", " ".join(plan.boot.append), "-serial", f"file:{folder}/bare.log",
    ]  # fmt: skip
    before = getrusage(RUSAGE_CHILDREN)
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, timeout=120)
    after = getrusage(RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


async def boot(ready: ReadyKernel, folder: Path, setup: bool) -> float:
    """CPU seconds from nothing to a guest that answers."""
    own = time.process_time()
    async with started_guest(ready.plan, GuestFiles.within(folder)) as guest:
        for command in ready.image.setup if setup else ():
            await guest.channel.check(command)
        return guest.process.cpu_seconds() + time.process_time() - own


async def restore(ready: ReadyKernel, snapshot: Snapshot, folder: Path) -> float:
    """CPU seconds from a snapshot to a guest that answers."""
    own = time.process_time()
    async with started_guest(ready.plan, GuestFiles.within(folder), snapshot=snapshot) as guest:
        return guest.process.cpu_seconds() + time.process_time() - own


async def measure(ready: ReadyKernel, initrd: Path, pairs: int, folder: Path) -> dict[str, float]:
    """The medians, and their ratios to the bare boot, over interleaved runs."""
    bare, booted, set_up, restored = [], [], [], []
    with snapshot_storage(ready.plan.machine.memory_nodes) as snapshot:
        async with started_guest(
            ready.plan,
            GuestFiles.within(folder),
            memory=memory_of(snapshot),
            overlay=snapshot.disk_path,
        ) as guest:
            for command in ready.image.setup:
                await guest.channel.check(command)
            await save_snapshot(guest.monitor, snapshot)
        for number in range(1, pairs + 1):
            bare.append(bare_boot(ready.plan, initrd, folder))
            booted.append(await boot(ready, folder, setup=False))
            set_up.append(await boot(ready, folder, setup=True))
            restored.append(await restore(ready, snapshot, folder))
            say(
                f"pair {number}: bare {bare[-1]:.2f}, boot {booted[-1]:.2f}, with set-up "
                f"{set_up[-1]:.2f}, restore {restored[-1]:.2f} CPU s"
            )

    def ratio(costs: list[float]) -> float:
        return round(median(cost / base for cost, base in zip(costs, bare, strict=True)), 3)

    return {
        "pairs": pairs,
        "bare_cpu_seconds": round(median(bare), 3),
        "boot_cpu_seconds": round(median(booted), 3),
        "restore_cpu_seconds": round(median(restored), 3),
        "boot_ratio": ratio(booted),
        "boot_with_setup_ratio": ratio(set_up),
        "restore_ratio": ratio(restored),
    }


@click.command()
@click.option("--target", default="linux-swapin-aba")
@click.option("--guest", default="linux-x86_64")
@click.option("--kernel", default="buggy", help="Which of the target's kernels.")
@click.option("--pairs", default=7, type=click.IntRange(1))
def main(target: str, guest: str, kernel: str, pairs: int) -> None:
    """Measure what having a guest ready costs against a bare QEMU."""
    project, cache = project_folder(), cache_folder()
    request = Request(load_target(project, target), load_guest(project, guest), project, cache)
    ready = asyncio.run(prepare_kernel(request, kernel, say))
    tcg = replace(ready.plan.machine, accelerator="tcg,thread=multi")
    ready = replace(ready, plan=replace(ready.plan, machine=tcg))
    source = Path(__file__).with_name("power_off.c")
    power_off = compile_static(source, cache, request.guest.model.arch)
    with tempfile.TemporaryDirectory(prefix="harness-bench-") as name:
        folder = Path(name)
        initrd = folder / "bare.cpio"
        entries = [cpio.folder("dev"), cpio.console_device()]
        entries.append(cpio.file("init", power_off.read_bytes(), 0o755))
        initrd.write_bytes(cpio.archive(entries))
        result = asyncio.run(measure(ready, initrd, pairs, folder))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
