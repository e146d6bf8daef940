# SPDX-License-Identifier: BSD-2-Clause
"""GNU Mach guests on the distribution's kernels: boot, control channel, workload, snapshot."""

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from running import PROJECT, Harness

from harness.console.frames import Frame, FrameType
from harness.errors import GuestError, InfrastructureError
from harness.kernels.kernel import Kernel
from harness.paths import cache_folder
from harness.plan.load import load_guest, load_target
from harness.plan.needs import TargetUserlandModel
from harness.qemu.accelerator import TCG
from harness.qemu.command import Memory
from harness.qemu.guest import BootFailedError, GuestFiles, GuestPlan, RunningGuest, started_guest
from harness.qemu.process import require_qemu
from harness.qemu.snapshot import memory_of, save_snapshot, snapshot_storage
from harness.systems.base import ImageOrder, WorkloadOrder
from harness.systems.gnumach.system import GnuMach
from harness.systems.machine import machine_of

TARGET = "mach-port-names"
SYSTEM = GnuMach()

pytestmark = [pytest.mark.guest, pytest.mark.timeout(320)]
NOT_IN_THE_SUITES = ("no package", "no configured mirror")
"""What the harness says where the distribution has no such kernel for this host; the rest fails."""


@dataclass(frozen=True)
class Bootable:
    """A guest with the target's workload, on the distribution's kernel as it is."""

    kernel: Kernel
    plan: GuestPlan


@pytest.fixture(scope="module", params=["gnumach-x86_64", "gnumach-i686"])
def bootable(request: pytest.FixtureRequest) -> Bootable:
    guest = load_guest(PROJECT, request.param).model
    target = load_target(PROJECT, TARGET)
    recipe = target.model.kernels["fixed"][request.param].model_copy(update={"source": None})
    try:
        require_qemu(guest.machine.qemu)
    except InfrastructureError as error:
        pytest.skip(str(error))
    try:
        kernel = SYSTEM.acquire_kernel(recipe, guest, target.folder, cache_folder(), print)
    except InfrastructureError as error:
        if any(words in str(error) for words in NOT_IN_THE_SUITES):
            pytest.skip(str(error))
        raise
    source = PROJECT / "workloads" / target.model.workload.program
    program = asyncio.run(
        SYSTEM.compile_workload(WorkloadOrder(source, guest), cache_folder(), print)
    )
    order = ImageOrder(guest, kernel, TargetUserlandModel(), program)
    image = SYSTEM.build_image(order, cache_folder(), print)
    return Bootable(
        kernel, GuestPlan(machine_of(guest.machine, TCG), image.boot, guest.boot.seconds)
    )


@asynccontextmanager
async def booted(
    plan: GuestPlan, files: GuestFiles, memory: Memory | None = None
) -> AsyncIterator[RunningGuest]:
    """A booted guest. On a loaded host a boot now and then stops once the second processor has been
    started: a campaign counts that as void and boots again, and so does this, once.
    """
    async with AsyncExitStack() as stack:
        try:
            guest = await stack.enter_async_context(started_guest(plan, files, memory=memory))
        except BootFailedError as error:
            print(error)
            guest = await stack.enter_async_context(started_guest(plan, files, memory=memory))
        yield guest


async def run_workload(guest: RunningGuest, words: str) -> tuple[list[dict[str, Any]], int]:
    """What the workload says, and its status."""
    done = await guest.channel.run(f"workload {words}")
    return [json.loads(line) for line in done.output.splitlines()], done.status


def test_commands_and_what_is_refused(bootable: Bootable, tmp_path: Path) -> None:
    async def script() -> None:
        async with booted(bootable.plan, GuestFiles.within(tmp_path)) as guest:
            channel = guest.channel
            assert b"mach_port_names_storm" in await channel.check("help")
            await channel.check(SYSTEM.trial_start_command(12345))
            nothing = await channel.run("ls /")
            assert nothing.status == 127
            assert b"ls: no such command" in nothing.output
            with pytest.raises(GuestError, match="has no shell"):
                terminal = await channel.start("sh", terminal=True)
                _ = [data async for data in terminal.output()]
            with pytest.raises(GuestError, match="has no files"):
                await channel.get("/etc/passwd")
            events, status = await run_workload(guest, "threads=0")
            assert status == 2
            assert events[-1]["event"] == "error"
            assert "threads: expected 1 to 32, found 0" in events[-1]["message"]
            await channel.ping()

    asyncio.run(script())
    console = (tmp_path / "console.log").read_text(errors="replace")
    assert "BSP: Completed SMP init" in console
    assert "harness: trial, seed 12345" in console


def test_threads_run_on_both_cpus(bootable: Bootable, tmp_path: Path) -> None:
    async def script() -> None:
        async with booted(bootable.plan, GuestFiles.within(tmp_path)) as guest:
            words = f"seed={2**64 - 1} threads=4 ports=300 mix=30 pause=2 seconds=2"
            events, status = await run_workload(guest, words)
            assert status == 0
            assert [event["event"] for event in events][:1] == ["start"]
            assert events[0]["processor_sets"] == 2
            done = events[-1]
            assert done["event"] == "done"
            assert done["t"] >= 2
            # odd threads are on the second CPU's processor set
            assert min(done["progress"]) > 0

    asyncio.run(script())


def test_a_restored_guest_goes_on_with_all_its_cpus(bootable: Bootable, tmp_path: Path) -> None:
    folders = [tmp_path / "boot", tmp_path / "restored"]
    for folder in folders:
        folder.mkdir()

    async def script() -> None:
        with snapshot_storage() as snapshot:
            files = GuestFiles.within(folders[0])
            memory = memory_of(snapshot)
            async with booted(bootable.plan, files, memory) as guest:
                await save_snapshot(guest.monitor, snapshot)
            files = GuestFiles.within(folders[1])
            async with started_guest(bootable.plan, files, snapshot=snapshot) as guest:
                events, status = await run_workload(guest, "seed=1 threads=4 seconds=2")
                assert status == 0
                assert min(events[-1]["progress"]) > 0

    asyncio.run(script())


def test_a_command_that_is_cut_into_pieces_and_damaged(bootable: Bootable, tmp_path: Path) -> None:
    async def script() -> None:
        async with booted(bootable.plan, GuestFiles.within(tmp_path)) as guest:
            # more than a frame may hold of one command, and as much as it may
            long = await guest.channel.run("x" * 2000)
            assert long.status == 127
            await guest.channel.send(Frame(FrameType.KILL, 999, b"\x09"))
            await guest.channel.ping()

    asyncio.run(script())


def test_both_arms_from_packages(tmp_path: Path) -> None:
    """The un-fixed kernel may do whatever the race makes it do; the packaged one must survive."""
    project = tmp_path / "project"
    shutil.copytree(PROJECT / "failpoints" / TARGET, project / "failpoints" / TARGET)
    for name in ("guest-configs", "workloads"):
        (project / name).symlink_to(PROJECT / name)
    target = project / "failpoints" / TARGET / "target.toml"
    text, budgets = re.subn(r"trial_seconds = \d+", "trial_seconds = 15", target.read_text())
    assert budgets == 1
    target.write_text(text)
    harness = Harness(project, tmp_path / "results")
    done = harness.run(
        "repro", TARGET, "--trials", "1", "--seed", "3", "--no-failpoints", "--json", seconds=300
    )
    if any(words in done.err for words in NOT_IN_THE_SUITES):
        pytest.skip(done.err.strip().splitlines()[-1])
    assert done.out, done.err
    trials = {}
    for file in harness.campaigns()[-1].glob("trials/*/trial.json"):
        trial = json.loads(file.read_text())
        trials[trial["arm"]] = trial
    assert trials["fixed"]["verdict"] == "survived"
    assert trials["buggy"]["verdict"] in {"reproduced", "hung", "crashed", "survived"}
    assert sum(trials["fixed"]["workload_fields"]["progress"]) > 0
