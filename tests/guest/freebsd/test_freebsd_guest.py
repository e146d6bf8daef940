# SPDX-License-Identifier: BSD-2-Clause
"""Real FreeBSD, driven as targets do it: kernels of the tree HARNESS_FREEBSD_SRC, and the amd64
kernels HARNESS_FREEBSD_KERNEL (`:` between them; releases 10 to 15)."""

import asyncio
import json
import os
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from configured import NO_SOURCE, SOURCE, freebsd_marks

from harness.console.channel import ControlChannel
from harness.errors import ConfigurationError, GuestError
from harness.failpoints.grammar import parse_setting
from harness.failpoints.inside import SysctlFailpoint
from harness.paths import cache_folder
from harness.places.symbols import SymbolTable
from harness.plan.kernel import KernelRecipe, SourceRecipe
from harness.plan.load import load_guest
from harness.plan.needs import TargetUserlandModel
from harness.plan.target import DebuggerModel
from harness.qemu.accelerator import TCG
from harness.qemu.guest import GuestFiles, GuestPlan, RunningGuest, started_guest
from harness.qemu.snapshot import Snapshot, memory_of, save_snapshot, snapshot_storage
from harness.systems.base import ImageOrder, WorkloadOrder
from harness.systems.freebsd.ddb import DDB
from harness.systems.freebsd.system import FreeBSD
from harness.systems.machine import machine_of
from harness.trials.debugger import ask_debugger

PROJECT = Path(__file__).parents[3]
HERE = Path(__file__).parent
KERNELS = [name for name in os.environ.get("HARNESS_FREEBSD_KERNEL", "").split(":") if name]
BUILT = ["freebsd-amd64", "freebsd-arm64"] if SOURCE or not KERNELS else []
pytestmark = freebsd_marks(
    bool(SOURCE or KERNELS), f"{NO_SOURCE}, nor HARNESS_FREEBSD_KERNEL a kernel"
)


@dataclass(frozen=True)
class Machine:
    """A guest that can be booted, and where its console goes."""

    plan: GuestPlan
    folder: Path
    symbols: Path

    @asynccontextmanager
    async def booted(
        self, snapshot: Snapshot | None = None, saved_as: Snapshot | None = None
    ) -> AsyncIterator[RunningGuest]:
        files = GuestFiles.within(self.folder)
        memory = memory_of(saved_as) if saved_as is not None else None
        async with started_guest(self.plan, files, snapshot=snapshot, memory=memory) as guest:
            yield guest

    def console(self) -> str:
        return (self.folder / "console.log").read_text(errors="replace").replace("\r", "")


@pytest.fixture(scope="module", params=[*BUILT, *KERNELS])
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    name = request.param if request.param in BUILT else "freebsd-amd64"
    folder = tmp_path_factory.mktemp(name)
    (folder / "race.conf").write_text("# nothing beside the base\n")
    # harness.h is found beside the workload
    shutil.copy(HERE / "library.c", folder)
    shutil.copy(PROJECT / "workloads/harness_workload.h", folder)
    guest, cache, system = load_guest(PROJECT, name).model, cache_folder(), FreeBSD()
    if request.param in BUILT:
        recipe = KernelRecipe(source=SourceRecipe(directory=SOURCE, config=["race.conf"]))
    else:
        recipe = KernelRecipe(file=str(Path(request.param).resolve()))
    kernel = system.acquire_kernel(recipe, guest, folder, cache, print)
    order = WorkloadOrder(folder / "library.c", guest)
    workload = asyncio.run(system.compile_workload(order, cache, print))
    image = system.build_image(
        ImageOrder(guest, kernel, TargetUserlandModel(), workload), cache, print
    )
    plan = GuestPlan(machine_of(guest.machine, TCG), image.boot, guest.boot.seconds)
    return Machine(plan, folder, system.symbols_file(kernel, cache))


def driven(machine: Machine, what: Callable[[RunningGuest], Awaitable[None]]) -> None:
    async def drive() -> None:
        async with machine.booted() as guest:
            await what(guest)

    asyncio.run(drive())


async def said(guest: RunningGuest, command: str) -> str:
    return (await guest.channel.check(command)).decode()


def test_the_small_c_library_holds_its_claims(machine: Machine) -> None:
    async def library(guest: RunningGuest) -> None:
        lines = (await said(guest, "/workload seed=5")).splitlines()
        assert [line for line in lines if "symptom" in line] == []
        done = json.loads(lines[-1])
        assert (done["event"], done["wrong"]) == ("done", 0)
        assert done["claims"] > 30

    driven(machine, library)


EVERY_FORM = (
    ("off", "off"),
    ("return", "return"),
    ("return(5)", "return(5)"),
    ("return(0x10)", "return(16)"),
    ("return(-2147483648)", "return(-2147483648)"),
    ("50%sleep(10)", "50%sleep(10)"),
    ("delay(7)", "delay(7)"),
    ("pause[pid 7]", "pause[pid 7]"),
    ("yield", "yield"),
    ("print(1)->return(3)", "print(1)->return(3)"),
    ("break", "break"),
    ("panic", "panic"),
    (".5%return(1)", "0.5%return(1)"),
    ("0.0001%5*return(1)", "0.0001%5*return(1)"),
    ("5*2%return(1)", "2%5*return(1)"),
    ("1*sleep(1000)[pid 7]", "1*sleep(1000)[pid 7]"),
    ("3*off->return(1)", "3*off->return(1)"),
    ("2%return(5)->5%return(22)", "2%return(5)->5%return(22)"),
    # an `off` at the end of a chain goes without saying
    ("20%return(1)->3*pause->off", "20%return(1)->3*pause"),
    ("->".join(["1%return(1)"] * 20), "->".join(["1%return(1)"] * 20)),
)
REJECTED = (
    "sleeep(1)", "sleep(", "sleep(x)", "1%*sleep(5)", "0*return(1)", "return(1)->", "->return(1)",
    "return(1)[pid x]", "return(1)[vcpu 1]", "return(1) -> return(2)", "return(1)garbage", "",
    "->".join(["1%return(1)"] * 21),
)  # fmt: skip
HAS_TEST_POINT = 1100000


async def skip_before_11(guest: RunningGuest) -> None:
    release = int(await said(guest, "sysctl -n kern.osreldate"))
    if release < HAS_TEST_POINT:
        pytest.skip(f"a kernel of {release} has no fail point to try (sys/kern/kern_fail.c)")


def test_fail_points_are_listed_set_read_back_and_hit(machine: Machine) -> None:
    point = "debug.fail_point.test_fail_point"
    trigger = "debug.fail_point.test_trigger_fail_point"

    async def set_them(guest: RunningGuest) -> None:
        channel = guest.channel
        await skip_before_11(guest)
        assert f"{point}: off" in await said(guest, "sysctl debug.fail_point")
        for setting, shown in EVERY_FORM:
            failpoint = SysctlFailpoint("here", "test_fail_point", parse_setting(setting))
            before = await failpoint.set(channel)
            assert (await failpoint.read(channel)).setting == shown
            await failpoint.reset(channel, before)
        failpoint = SysctlFailpoint("here", "test_fail_point", parse_setting("return(5)"))
        before = await failpoint.set(channel)
        failed = await channel.run(f"sysctl {trigger}")
        assert (failed.status, b"Input/output error" in failed.output) == (1, True)
        await failpoint.reset(channel, before)
        for setting in REJECTED:
            assert (await channel.run(f"sysctl '{point}={setting}'")).status == 1, setting
            assert (await said(guest, f"sysctl -n {point}")).strip() == "off"
        unknown = SysctlFailpoint("here", "test_fail_pint", parse_setting("off"))
        with pytest.raises(ConfigurationError, match=r"similar: debug\.fail_point\.test_"):
            await unknown.set(channel)
        # the longest text that a 13.2 survives
        longest = "1%return(1)".rjust(1022, "0")
        await said(guest, f"sysctl '{point}={longest}'")
        assert (await said(guest, f"sysctl -n {point}")).strip() == "1%return(1)"

    driven(machine, set_them)


def test_who_is_held_at_a_fail_point_is_told(machine: Machine) -> None:
    trigger = "debug.fail_point.test_trigger_fail_point"

    async def hold(guest: RunningGuest) -> None:
        channel = guest.channel
        await skip_before_11(guest)
        used_up = SysctlFailpoint("here", "test_fail_point", parse_setting("print(1)->1*return(5)"))
        before = await used_up.set(channel)
        await channel.run(f"sysctl {trigger}")
        assert (await said(guest, f"sysctl -n {used_up.variable}")).strip() == "print(1)->"
        assert (await used_up.read(channel)).setting == "print(1)"
        await used_up.reset(channel, before)
        paused = SysctlFailpoint("here", "test_fail_point", parse_setting("pause"))
        before = await paused.set(channel)
        held = await channel.start(f"sysctl {trigger}")
        async with asyncio.timeout(60):
            while (now := await paused.read(channel)).counters["paused_threads"] == 0:
                await asyncio.sleep(0.1)
        assert now.counters == {"sleeping_threads": 0, "paused_threads": 1}
        assert "fail_point_eval_nontrivial" in now.status
        await paused.reset(channel, before)
        assert [chunk async for chunk in held.output()]
        assert held.status == 0

    driven(machine, hold)


def test_commands_and_files(machine: Machine, tmp_path: Path) -> None:
    async def use(guest: RunningGuest) -> None:
        channel = guest.channel
        assert isinstance(channel, ControlChannel)
        assert await said(guest, "echo 'two  words' \"a;b\"; echo more") == "two  words a;b\nmore\n"
        stopped = await channel.run("nonsense; echo never")
        assert (stopped.status, b"never" in stopped.output) == (127, False)
        assert (await channel.run("sleep")).status == 2
        assert "init_path=/init" not in await said(guest, "kenv init_path")
        content = os.urandom(20_000)
        (tmp_path / "there").write_bytes(content)
        await channel.put(tmp_path / "there", "/tmp/there")
        assert await channel.get("/tmp/there") == content
        with pytest.raises(GuestError, match="No such file or directory"):
            await channel.get("/tmp/nothing")
        sleeper = await channel.start("sleep 600")
        await sleeper.kill(9)
        assert [chunk async for chunk in sleeper.output()] == []
        assert sleeper.status == 128 + 9

    driven(machine, use)


def test_a_prompt_serves_a_person(machine: Machine) -> None:
    async def type_at_it(guest: RunningGuest) -> None:
        prompt = await guest.channel.start("exec sh -i", terminal=True)
        await prompt.resize(24, 80)
        seen = b""
        typed = [b"echo one\r", b"nothing\r", b"exit\r"]
        async for chunk in prompt.output():
            seen += chunk
            if seen.endswith(b"guest> ") and typed:
                await prompt.write(typed.pop(0))
        assert b"\r\none\r\n" in seen
        assert b"(status 127)" in seen
        assert prompt.status == 127

    driven(machine, type_at_it)


def test_a_panic_ends_the_guest_by_itself_with_its_backtrace(machine: Machine) -> None:
    async def panic(guest: RunningGuest) -> None:
        await said(guest, "trial 77")
        with pytest.raises(GuestError):
            await guest.channel.run("sysctl debug.kdb.panic=1")
        async with asyncio.timeout(60):
            await guest.process.wait()

    driven(machine, panic)
    text = machine.console()
    before, _, after = text.partition("panic: kdb_sysctl_panic\n")
    assert before.rstrip().endswith("harness: trial, seed 77")
    assert "KDB: stack backtrace:" in after
    if "pc = 0x" in after:  # arm64, whose kernel knows its exported symbols only
        table = SymbolTable.read(machine.symbols.read_bytes(), "vmlinux")
        (function,) = table.named("kdb_sysctl_panic")
        found = [int(pc, 16) for pc in re.findall(r"pc = (0x[0-9a-f]+)", after)]
        assert any(function.address < pc < function.address + function.size for pc in found)
    else:
        assert "kdb_sysctl_panic() at kdb_sysctl_panic+0x" in after
    assert "db>" not in after


def test_ddb_answers_after_a_panic_and_a_break(machine: Machine) -> None:
    order = DebuggerModel(commands=["show pcpu", "show page", "ps", "alltrace", "nonsense"])

    async def ask(guest: RunningGuest, command: str | None) -> str:
        heard = bytearray()
        guest.console.listen(heard.extend)
        await guest.set_up(DDB.setup)
        if command is not None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(2):
                    await guest.channel.run(command)
        asked = await ask_debugger(guest, DDB, order, bytes(heard), stopped=command is not None)
        assert asked.summary("ddb") == "ddb: 5 of 5 commands answered"
        assert guest.process.exit_status is None
        return asked.as_text()

    async def panic(guest: RunningGuest) -> None:
        text = await ask(guest, "sysctl debug.kdb.panic=1")
        assert "--More--" not in text
        assert re.search(r"^(vm_)?cnt\.v_free_count: ", text, re.MULTILINE)
        assert "No such command" in text
        assert text.count("Tracing command") > 20

    async def stop(guest: RunningGuest) -> None:
        assert "curthread" in await ask(guest, None)

    driven(machine, panic)
    driven(machine, stop)


def test_a_snapshot_is_restored_as_often_as_one_likes(machine: Machine) -> None:
    async def save_and_restore() -> None:
        with snapshot_storage() as snapshot:
            async with machine.booted(saved_as=snapshot) as guest:
                assert (await said(guest, "mdconfig 16")).strip() == "/dev/md1"
                await guest.set_up(["swapon /dev/md1"])
                await save_snapshot(guest.monitor, snapshot)
            for seed in range(3):
                async with machine.booted(snapshot) as guest:
                    await said(guest, f"trial {seed}")
                    assert (await said(guest, "sysctl -n vm.swap_total")).strip() == str(16 << 20)
                    await said(guest, "/workload seed=5")

    asyncio.run(save_and_restore())
