# SPDX-License-Identifier: BSD-2-Clause
"""Real Linux guests that hang in every way: told apart, with stacks, and dumped."""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from harness.hangs import Hang, HangKind, StackFrame, hang_as_text, inspect_hang
from harness.kernels.toolchain import compile_static
from harness.paths import cache_folder
from harness.places.symbols import SymbolTable
from harness.plan.load import load_guest, load_target
from harness.plan.needs import TargetUserlandModel
from harness.progress import silent
from harness.qemu import plugin
from harness.qemu.dump import dump_memory, keep_after_shutdown
from harness.qemu.gdb import attached, force_returns, run_state
from harness.qemu.guest import GuestFiles, GuestPlan, RunningGuest, started_guest
from harness.systems.base import GuestImage, ImageOrder
from harness.systems.registry import SYSTEMS
from harness.systems.symbols import kernel_symbols
from harness.trials.arm import PreparedArm
from harness.trials.external import ArmedFailpoints, ExternalFailpoints
from harness.trials.prepare import ReadyKernel, Request, prepare_kernel
from harness.trials.trial import run_trial

pytestmark = [pytest.mark.guest, pytest.mark.timeout(240)]
HERE = Path(__file__).parent
PROJECT = HERE.parents[1]


class Lab:
    """A kernel of the swap-in target, with hang.c as its workload."""

    def __init__(self, kernel: str) -> None:
        cache = cache_folder()
        guest = load_guest(PROJECT, "linux-x86_64")
        target = load_target(PROJECT, "linux-swapin-aba")
        self.ready: ReadyKernel = asyncio.run(
            prepare_kernel(Request(target, guest, PROJECT, cache), kernel, silent)
        )
        program = compile_static(HERE / "hang.c", cache, "x86_64")
        self.image: GuestImage = SYSTEMS["linux"].build_image(
            ImageOrder(guest.model, self.ready.kernel, TargetUserlandModel(), program),
            cache,
            silent,
        )
        self.plan: GuestPlan = replace(self.ready.plan, boot=self.image.boot)
        self.workload = self.image.workload
        self.symbols: SymbolTable = asyncio.run(
            kernel_symbols(self.ready.kernel, self.plan, SYSTEMS["linux"], cache, silent)
        )

    def run(
        self,
        folder: Path,
        body: Callable[[RunningGuest], Awaitable[None]],
        plugin_arguments: tuple[str, ...] = (),
    ) -> None:
        """Boots the guest and does `body` with it."""

        async def main() -> None:
            async with started_guest(
                self.plan, GuestFiles.within(folder), plugin=plugin_arguments
            ) as guest:
                await body(guest)

        asyncio.run(main())

    def hang(self, folder: Path, kind: str) -> tuple[Hang, float]:
        """The hang of that kind as it is found, and how long finding out took, in seconds."""
        found: list[tuple[Hang, float]] = []

        async def symbols(_: bool) -> SymbolTable:
            return self.symbols

        async def body(guest: RunningGuest) -> None:
            running = await guest.channel.start(f"{self.workload} kind={kind}")
            await anext(running.output())
            await asyncio.sleep(1)
            began = time.monotonic()
            hang = await inspect_hang(guest, arch="x86_64", symbols=symbols)
            found.append((hang, time.monotonic() - began))
            assert await run_state(guest.monitor) == "running"
            assert await left_behind(guest) == []
            if hang.answers:
                await guest.channel.ping()

        self.run(folder, body)
        return found[0]

    def arm(self, kind: str) -> PreparedArm:
        """A trial of hang.c."""
        return PreparedArm(
            name="hang",
            system="linux",
            expect="either",
            kernel=self.ready.kernel,
            plan=self.plan,
            image=self.image,
            workload_args={"kind": kind},
            failpoints=None,
            symptoms=(),
            heartbeat_seconds=3.0,
            trial_seconds=60.0,
            symbols_file=SYSTEMS["linux"].symbols_file(self.ready.kernel, cache_folder()),
            dump_memory=True,
        )


async def left_behind(guest: RunningGuest) -> list[str]:
    """Lines of gdb servers that are still there."""
    answer = await guest.monitor.execute("query-chardev")
    assert isinstance(answer, list)
    labels = [str(line["label"]) for line in answer if isinstance(line, dict)]
    return [label for label in labels if label.startswith("gdb")]


def names(stack: tuple[StackFrame, ...], *, reliable: bool = False) -> list[str | None]:
    return [frame.function for frame in stack if frame.reliable or not reliable]


@pytest.fixture(scope="module")
def buggy() -> Lab:
    return Lab("buggy")


@pytest.fixture(scope="module")
def fixed() -> Lab:
    return Lab("fixed")


@pytest.mark.parametrize("kernel", ["buggy", "fixed"])
def test_a_workload_that_sleeps(
    kernel: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    hang, seconds = request.getfixturevalue(kernel).hang(tmp_path, "stall")
    assert (hang.kind, hang.answers) == (HangKind.WORKLOAD_STALLED, True), hang.reason
    assert seconds < 15
    for vcpu in hang.vcpus:
        assert {"do_idle", "cpu_startup_entry"} <= set(names(vcpu.stack, reliable=True))
    # the guest itself says where the workload sleeps
    assert re.search(r"\(workload\): state S, .*\n(  .*\n)*.*sys_pause", hang.tasks)


@pytest.mark.parametrize("kernel", ["buggy", "fixed"])
def test_a_guest_whose_init_is_stopped(
    kernel: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    hang, _ = request.getfixturevalue(kernel).hang(tmp_path, "idle")
    assert (hang.kind, hang.answers) == (HangKind.ALL_VCPUS_IDLE, False), hang.reason
    assert all("do_idle" in names(vcpu.stack) for vcpu in hang.vcpus)


def test_programs_that_spin(buggy: Lab, tmp_path: Path) -> None:
    hang, _ = buggy.hang(tmp_path, "user")
    assert (hang.kind, hang.answers) == (HangKind.VCPU_SPINNING, False), hang.reason
    assert "user mode" in hang.reason


@pytest.mark.parametrize("kernel", ["buggy", "fixed"])
def test_a_kernel_that_spins(kernel: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    hang, _ = request.getfixturevalue(kernel).hang(tmp_path, "kernel")
    assert (hang.kind, hang.answers) == (HangKind.VCPU_SPINNING, False), hang.reason
    called = ["vfs_read", "ksys_read", "do_syscall_64"]
    in_read = [
        [name for name in names(vcpu.stack, reliable=True) if name in called] == called
        for vcpu in hang.vcpus
    ]
    assert any(in_read), hang_as_text(hang)


def test_a_flood(buggy: Lab, tmp_path: Path) -> None:
    hang, _ = buggy.hang(tmp_path, "flood")
    assert hang.kind is HangKind.CONSOLE_FLOOD, hang.reason


def test_a_return_value_forced_from_outside(buggy: Lab, tmp_path: Path) -> None:
    address = buggy.symbols.address_of("__x64_sys_sethostname")
    command = "echo one > /proc/sys/kernel/hostname; busybox hostname two; busybox hostname"

    async def body(guest: RunningGuest) -> None:
        running = asyncio.create_task(guest.channel.run(command))
        async with attached(guest.monitor, "x86_64") as client:
            assert await force_returns(client, address, -5, seconds=30) == 1
        done = await asyncio.wait_for(running, 30)
        assert done.output == b"hostname: sethostname: Input/output error\none\n"
        assert await left_behind(guest) == []

    buggy.run(tmp_path, body)


def test_a_held_vcpu_is_let_go_before_the_look(buggy: Lab, tmp_path: Path) -> None:
    address = buggy.symbols.address_of("__x64_sys_sethostname")
    rule = plugin.DelayRule("hold", "place", (plugin.Term(plugin.Action.DELAY, 30_000_000),))
    plan = plugin.PluginPlan((plugin.Point("place", (address,)),), (rule,))
    library = plugin.build_plugin(cache_folder() / "plugin")
    external = ExternalFailpoints(plan, (), {}, library)
    with ArmedFailpoints(external, tmp_path, 1) as failpoints:

        async def body(guest: RunningGuest) -> None:
            failpoints.arm()
            running = await guest.channel.start("busybox hostname held")
            await asyncio.sleep(1)
            began = time.monotonic()
            failpoints.disarm()
            async with attached(guest.monitor, "x86_64") as client:
                assert len(await client.threads()) == 2
            # far below the 30 s of the hold, on a loaded host too
            assert time.monotonic() - began < 5
            assert [chunk async for chunk in running.output()] == []

        buggy.run(tmp_path, body, failpoints.qemu_arguments())


def check_core(file: Path, release: str) -> None:
    with file.open("rb") as opened:
        elf = ELFFile(opened)
        assert elf["e_type"] == "ET_CORE"
        (segment,) = elf.iter_segments("PT_NOTE")
        notes = [(note["n_name"], note["n_desc"]) for note in segment.iter_notes()]
        assert [name for name, _ in notes] == ["CORE"] * 2 + ["QEMU"] * 2 + ["VMCOREINFO"]
        assert f"OSRELEASE={release}" in str(notes[-1][1])
        memory = sum(s["p_filesz"] for s in elf.iter_segments("PT_LOAD") if s["p_paddr"] < 1 << 30)
        assert memory == 256 << 20


def test_a_dump_of_a_running_guest(buggy: Lab, tmp_path: Path) -> None:
    async def body(guest: RunningGuest) -> None:
        await keep_after_shutdown(guest.monitor)
        dump = await dump_memory(
            guest.monitor, tmp_path / "core", arch="x86_64", symbols=buggy.symbols
        )
        assert dump.has_vmcoreinfo
        await guest.channel.ping()

    buggy.run(tmp_path, body)
    check_core(tmp_path / "core", buggy.ready.kernel.release)


def test_a_hung_trial(buggy: Lab, tmp_path: Path) -> None:
    record = asyncio.run(run_trial(buggy.arm("stall"), 1, 0, 1, tmp_path))
    assert record.verdict == "hung"
    assert "workload-stalled: the guest's init answers" in record.reason
    assert json.loads((tmp_path / "hang.json").read_bytes())["kind"] == "workload-stalled"
    text = (tmp_path / "hang.txt").read_text()
    assert "cpu_startup_entry+0x" in text
    assert "sys_pause" in text
    assert (tmp_path / "registers.txt").exists()
    check_core(tmp_path / "memory.elf", buggy.ready.kernel.release)
    assert any("memory.elf: 256 MiB" in note for note in record.notes), record.notes


def test_a_trial_that_panics_leaves_its_memory(fixed: Lab, tmp_path: Path) -> None:
    record = asyncio.run(run_trial(fixed.arm("panic"), 1, 0, 1, tmp_path))
    assert (record.verdict, "sysrq" in record.reason) == ("crashed", True), record
    check_core(tmp_path / "memory.elf", fixed.ready.kernel.release)
    assert not (tmp_path / "hang.txt").exists()
