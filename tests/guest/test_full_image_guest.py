# SPDX-License-Identifier: BSD-2-Clause
"""Full-image guests: a distribution's root over SSH, with the targets of the micro-guest."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pexpect
import psutil
import pytest
from running import PROJECT, Harness, make_project

from harness.console.guest_channel import CommandFailedError
from harness.console.ssh import new_key
from harness.disk_tools import missing_disk_tools
from harness.errors import InfrastructureError
from harness.kernels.toolchain import missing_compiler
from harness.paths import cache_folder
from harness.plan.load import Guest, load_case, load_guest, load_target
from harness.progress import silent
from harness.qemu.guest import BootFailedError, GuestFiles, GuestPlan, RunningGuest, started_guest
from harness.qemu.process import require_qemu
from harness.qemu.snapshot import Snapshot, memory_of, save_snapshot, snapshot_storage
from harness.trials.arm import PreparedArm
from harness.trials.prepare import Request, prepare_arms
from harness.trials.trial import run_trial

FULL = "linux-x86_64-full"
OTHERS = {"linux-arm64-full": "aarch64 arm64 4096", "linux-ppc64le-full": "ppc64le ppc64el 65536"}

pytestmark = [pytest.mark.guest, pytest.mark.timeout(400)]


def guest_or_skip(name: str) -> Guest:
    guest = load_guest(PROJECT, name)
    try:
        require_qemu(guest.model.machine.qemu)
    except InfrastructureError as error:
        pytest.skip(str(error))
    if missing := missing_disk_tools() or missing_compiler(guest.model.arch):
        pytest.skip(missing)
    return guest


@pytest.fixture(scope="module")
def arm(tmp_path_factory: pytest.TempPathFactory) -> PreparedArm:
    """The arm `fixed` of chaos, whose workload does nothing, on the full image."""
    guest = guest_or_skip(FULL)
    project = make_project(tmp_path_factory.mktemp("full") / "project")
    request = Request(load_target(project, "chaos"), guest, project, cache_folder())
    arms = asyncio.run(prepare_arms(request, silent))
    return next(arm for arm in arms if arm.name == "fixed")


@contextmanager
def saved(plan: GuestPlan, folder: Path, *commands: str) -> Iterator[Snapshot]:
    """A snapshot of the booted guest, taken after the commands."""

    async def save(snapshot: Snapshot) -> None:
        files = GuestFiles.within(folder)
        memory = memory_of(snapshot)
        async with started_guest(plan, files, memory=memory, overlay=snapshot.disk_path) as guest:
            await guest.set_up(commands)
            await save_snapshot(guest.monitor, snapshot)

    with snapshot_storage(plan.machine.memory_nodes) as snapshot:
        asyncio.run(save(snapshot))
        yield snapshot


@pytest.fixture(scope="module")
def snapshot(arm: PreparedArm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Snapshot]:
    folder = tmp_path_factory.mktemp("saved")
    with saved(arm.plan, folder, "echo before > /etc/kept; sync", "echo dirty > /etc/dirty") as it:
        yield it


def within(
    arm: PreparedArm,
    snapshot: Snapshot,
    folder: Path,
    scenario: Callable[[RunningGuest], Awaitable[None]],
) -> None:
    async def run() -> None:
        files = GuestFiles.within(folder)
        async with started_guest(arm.plan, files, snapshot=snapshot) as guest:
            async with asyncio.timeout(60):
                await scenario(guest)

    asyncio.run(run())


def test_it_is_a_distribution_s_root(arm: PreparedArm, snapshot: Snapshot, tmp_path: Path) -> None:
    async def scenario(guest: RunningGuest) -> None:
        check = guest.channel.check
        assert b"Debian GNU/Linux 12" in await check("cat /etc/os-release")
        assert await check("stat -c '%U:%G %a' / /etc/shadow /usr/bin/su /tmp /root") == (
            b"root:root 755\nroot:shadow 640\nroot:root 4755\nroot:root 1777\nroot:root 700\n"
        )
        assert await check("find / -xdev ! -user root ! -path '/run/*' | wc -l") in (b"0\n",)
        assert await check("dpkg -S /usr/bin/env") == b"coreutils: /usr/bin/env\n"
        assert await check("dpkg --audit; apt-get --simulate check > /dev/null") == b""
        left_out = "/usr/share/(doc|info|locale|man)/"
        assert await check(f"dpkg --verify coreutils bash | grep -Ev ' {left_out}' || true") == b""
        assert await check("su -c 'id -un' root") == b"root\n"
        assert (await check("cat /proc/1/comm; df --output=fstype / | tail -n 1")).split() == [
            b"init",
            b"ext4",
        ]
        await guest.channel.ping()

    within(arm, snapshot, tmp_path, scenario)


def test_the_guest_is_alone_and_its_port_is_the_loopback_s(
    arm: PreparedArm, snapshot: Snapshot, tmp_path: Path
) -> None:
    async def scenario(guest: RunningGuest) -> None:
        sockets = psutil.Process(guest.process.pid).net_connections("inet")
        assert {c.laddr.ip for c in sockets} == {"127.0.0.1"}
        with socket.create_server(("0.0.0.0", 0)) as server:
            server.settimeout(0.5)
            port = server.getsockname()[1]
            tried = await guest.channel.run(f"timeout 3 bash -c '< /dev/tcp/10.0.2.2/{port}'")
            assert tried.status != 0
            with pytest.raises(TimeoutError):
                server.accept()
        assert (await guest.channel.run("cat /etc/shadow | grep -v '^[a-z_-]*:[*]:'")).status == 1

    within(arm, snapshot, tmp_path, scenario)


def test_disks_are_as_they_were_saved_and_each_guest_has_its_own(
    arm: PreparedArm, snapshot: Snapshot, tmp_path: Path
) -> None:
    assert arm.plan.boot.disk is not None
    image = arm.plan.boot.disk.file
    before = image.stat()

    async def scenario(guest: RunningGuest) -> None:
        answer = await guest.channel.check("cat /etc/kept /etc/dirty; ls /etc/mine 2>&1 | wc -l")
        assert answer == b"before\ndirty\n1\n"
        await guest.channel.check("ls /etc/mine 2> /dev/null || echo x > /etc/mine; sync")
        await guest.channel.check("test -s /etc/mine; echo 3 > /proc/sys/vm/drop_caches")
        assert await guest.channel.check("cat /etc/mine /etc/kept") == b"x\nbefore\n"
        assert b"EXT4-fs error" not in await guest.channel.check("dmesg")

    def fresh() -> None:
        within(arm, snapshot, tmp_path, scenario)

    fresh()
    fresh()
    after = image.stat()
    assert (after.st_mtime_ns, after.st_size) == (before.st_mtime_ns, before.st_size)


def test_files_and_signals_over_ssh(arm: PreparedArm, snapshot: Snapshot, tmp_path: Path) -> None:
    content = os.urandom(300_000)
    (tmp_path / "here").write_bytes(content)

    async def scenario(guest: RunningGuest) -> None:
        await guest.channel.put(tmp_path / "here", "/var/tmp/there", 0o751)
        assert await guest.channel.check("stat -c %a /var/tmp/there") == b"751\n"
        assert await guest.channel.get("/var/tmp/there") == content
        running = await guest.channel.start("echo up; sleep 100; echo late")
        async for _ in running.output():
            await running.kill(15)
        assert running.status == 143
        with pytest.raises(CommandFailedError, match="No space left on device"):
            await guest.channel.check("fallocate -l 4G /var/tmp/fill")

    within(arm, snapshot, tmp_path, scenario)


def test_a_guest_that_runs_out_of_disk_is_a_void_trial(
    arm: PreparedArm, snapshot: Snapshot, tmp_path: Path
) -> None:
    full = replace(arm, image=replace(arm.image, setup=("fallocate -l 4G /var/tmp/fill",)))
    folder = tmp_path / "trial"
    folder.mkdir()
    record = asyncio.run(run_trial(full, 1, 0, 7, folder))
    assert record.verdict == "void"
    assert "`fallocate -l 4G /var/tmp/fill` ended with status 1" in record.reason
    assert "No space left on device" in record.reason


def test_another_host_key_is_refused_and_named(
    arm: PreparedArm, snapshot: Snapshot, tmp_path: Path
) -> None:
    assert arm.plan.login is not None
    other = new_key("another")
    login = replace(arm.plan.login, host_key=other.key)
    changed = replace(arm, plan=replace(arm.plan, login=login))

    async def scenario(_: RunningGuest) -> None:
        raise AssertionError("a server with another key must not be used")

    with pytest.raises(BootFailedError) as caught:
        within(changed, snapshot, tmp_path, scenario)
    assert f"expected ssh-ed25519 {other.key.fingerprint}" in str(caught.value)
    assert arm.plan.login.host_key.fingerprint in str(caught.value)


@pytest.mark.parametrize(
    ("ready", "says"),
    [
        pytest.param(
            b"never printed",
            "its console did not say that the SSH server listens",
            marks=pytest.mark.slow,
        ),
        (b"Linux version", "its SSH server listens, but does not answer"),
    ],
)
def test_a_server_that_never_answers(
    arm: PreparedArm, tmp_path: Path, ready: bytes, says: str
) -> None:
    assert arm.plan.login is not None
    login = replace(arm.plan.login, ready=ready)
    # an init that brings nothing up
    boot = replace(arm.plan.boot, append=(*arm.plan.boot.append, "rdinit=/bin/sleep", "--", "999"))
    plan = replace(arm.plan, login=login, boot=boot, boot_seconds=20)

    async def run() -> None:
        async with started_guest(plan, GuestFiles.within(tmp_path)):
            raise AssertionError("not ready")

    with pytest.raises(BootFailedError) as caught:
        asyncio.run(run())
    assert f"not ready after 20 s: {says}" in str(caught.value)
    assert "last lines of its console:" in str(caught.value)


def test_the_micro_guest_s_race_is_forced_on_it(tmp_path: Path) -> None:
    target = load_target(PROJECT, "linux-swapin-aba")
    request = Request(target, guest_or_skip(FULL), PROJECT, cache_folder())
    arms = {arm.name: arm for arm in asyncio.run(prepare_arms(request, silent))}
    buggy = replace(arms["buggy"], workload_args=arms["buggy"].workload_args | {"attempts": 5})
    folder = tmp_path / "trial"
    folder.mkdir()
    record = asyncio.run(run_trial(buggy, 1, 0, 7, folder))
    assert record.verdict == "reproduced", record.reason
    # with four of five, as with all: a page that could not be swapped out costs an attempt
    assert record.attempts_reproduced >= 4
    assert record.orders_reached


@pytest.mark.slow
def test_the_micro_guest_s_target_runs_on_it_unchanged(harness: Harness) -> None:
    guest_or_skip(FULL)
    done = harness.run(
        "repro", "linux-swapin-aba", "--guest", FULL, "--trials", "3", "--json", seconds=390
    )
    assert done.status in (0, 3), done.err
    arms = {name: arm["reproduced"] for name, arm in done.document["arms"].items()}
    assert arms.pop("buggy") == 3, done.err
    assert set(arms.values()) == {0}, done.err


def test_a_campaign(chaos: Callable[..., Harness]) -> None:
    guest_or_skip(FULL)
    harness = chaos()
    done = harness.run("repro", "chaos", "--guest", FULL, "--trials", "1", "--json", seconds=350)
    assert done.status in (0, 3), done.err
    arms = done.document["arms"]
    assert arms["buggy"]["reproduced"] == 1, done.err
    assert arms["fixed"]["reproduced"] == 0, done.err
    (campaign,) = harness.campaigns()
    trial = campaign / "trials" / "buggy-0001"
    record = json.loads((trial / "trial.json").read_text())
    assert record["start"] == "snapshot"
    assert b"harness: the SSH server listens" in (trial / "console.log").read_bytes()
    assert b"harness: trial, seed" in (trial / "console.log").read_bytes()
    assert "< READY 0 '127.0.0.1:" in (trial / "control.log").read_text()
    assert harness.no_qemu_within()


def test_a_prompt_for_a_person() -> None:
    guest_or_skip(FULL)
    child = pexpect.spawn(
        sys.executable, ["-c", "from harness.cli import main; main()", "shell", "--ssh"],
        env=os.environ | {"PYTHONPATH": str(PROJECT), "TERM": "dumb"},
        timeout=120, encoding="utf-8", dimensions=(33, 101),
    )  # fmt: skip
    child.expect("the guest is ready")
    child.expect("root@guest:~# ")
    child.sendline("echo $((6 * 7)); tty; stty size")
    child.expect(r"\s42\s")
    child.expect("/dev/pts/0")
    child.expect("33 101")
    child.sendline("sleep 100")
    child.expect("sleep 100\r\n")
    child.sendintr()
    child.expect("# ")
    child.sendline("exit 5")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 5


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_other_architectures(name: str, tmp_path: Path) -> None:
    """A torn read forced on the distribution's kernel, in a root of that architecture."""
    guest = guest_or_skip(name)
    case = load_case(PROJECT / "bench" / "torn_read.toml")
    request = Request(case, guest, PROJECT, cache_folder(), arms=("forced",))
    arms = {arm.name: arm for arm in asyncio.run(prepare_arms(request, print))}
    arm = replace(arms["forced"], workload_args={"attempts": 5})
    folder = tmp_path / "trial"
    folder.mkdir()
    record = asyncio.run(run_trial(arm, 1, 0, 7, folder))
    assert record.verdict == "reproduced", record.reason
    assert (record.attempts, record.attempts_reproduced) == (5, 5)

    async def look() -> bytes:
        async with started_guest(arm.plan, GuestFiles.within(tmp_path)) as running:
            words = "uname -m; dpkg --print-architecture; getconf PAGE_SIZE"
            return await running.channel.check(words)

    assert asyncio.run(look()).decode().split() == OTHERS[name].split()
