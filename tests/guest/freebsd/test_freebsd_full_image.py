# SPDX-License-Identifier: BSD-2-Clause
"""FreeBSD's own VM images, which HARNESS_FREEBSD_IMAGE and HARNESS_FREEBSD_IMAGE_ARM64 name.

They run on kernels of HARNESS_FREEBSD_SRC, whose release they have to be of.
"""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from configured import NO_SOURCE, SOURCE, freebsd_marks

from harness.console.guest_channel import CommandFailedError
from harness.console.ssh import new_key
from harness.errors import ConfigurationError
from harness.failpoints.grammar import parse_setting
from harness.failpoints.inside import SysctlFailpoint
from harness.kernels.override import parse_sources
from harness.paths import PROJECT, cache_folder
from harness.plan.load import chosen_guest, load_target
from harness.plan.target import DebuggerModel
from harness.qemu.guest import BootFailedError, GuestFiles, RunningGuest, started_guest
from harness.systems.freebsd.ddb import DDB
from harness.trials.debugger import ask_debugger
from harness.trials.prepare import ReadyKernel, Request, prepare_arms, prepare_kernel
from harness.trials.trial import run_trial

IMAGES = {
    "freebsd-amd64-full": "HARNESS_FREEBSD_IMAGE",
    "freebsd-arm64-full": "HARNESS_FREEBSD_IMAGE_ARM64",
}
pytestmark = freebsd_marks(bool(SOURCE), NO_SOURCE)
POINT = "debug.fail_point.test_fail_point"


@pytest.fixture(scope="module", params=IMAGES)
def request_on(request: pytest.FixtureRequest) -> Request:
    image = os.environ.get(IMAGES[request.param])
    if image is None:
        pytest.skip(f"{IMAGES[request.param]} names no VM image of FreeBSD (docs/freebsd.md)")
    return Request(
        load_target(PROJECT, "freebsd-cow-valid"),
        chosen_guest(PROJECT, request.param, image),
        PROJECT,
        cache_folder(),
        source=parse_sources(SOURCE, None, None),
    )


@pytest.fixture(scope="module")
def ready(request_on: Request) -> ReadyKernel:
    return asyncio.run(prepare_kernel(replace(request_on, compile="host"), "buggy", print))


def driven(
    ready: ReadyKernel, folder: Path, what: Callable[[RunningGuest], Awaitable[None]]
) -> None:
    async def drive() -> None:
        async with started_guest(ready.plan, GuestFiles.within(folder)) as guest:
            await what(guest)

    asyncio.run(drive())


def test_it_is_the_project_s_image_on_our_kernel(ready: ReadyKernel, tmp_path: Path) -> None:
    async def look(guest: RunningGuest) -> None:
        check = guest.channel.check
        assert (await check("uname -i; uname -s")).split() == [b"HARNESS", b"FreeBSD"]
        assert b"PermitRootLogin=prohibit-password" in await check("ps -ax -ww -o args")
        assert (await check("mount -p | awk '$2 == \"/\" { print $3 }'")).strip() == b"ufs"
        assert b"vtbd0p" in await check("ls /dev")
        assert (await check("mdconfig 4; mdconfig 4")).split() == [b"/dev/md1", b"/dev/md2"]
        await check("echo mine > /etc/mine && sync")
        (tmp_path / "file").write_bytes(os.urandom(300_000))
        await guest.channel.put(tmp_path / "file", "/var/tmp/file", 0o640)
        assert (await check("stat -f %Lp /var/tmp/file")).strip() == b"640"
        assert await guest.channel.get("/var/tmp/file") == (tmp_path / "file").read_bytes()
        with pytest.raises(CommandFailedError, match=r"No space left on device|filesystem full"):
            await check("dd if=/dev/zero of=/var/tmp/fill bs=1m 2>&1")

    driven(ready, tmp_path, look)

    async def is_as_it_was(guest: RunningGuest) -> None:
        assert (await guest.channel.run("ls /etc/mine")).status != 0

    driven(ready, tmp_path, is_as_it_was)


def test_fail_points_over_ssh(ready: ReadyKernel, tmp_path: Path) -> None:
    async def set_them(guest: RunningGuest) -> None:
        shell = guest.channel
        assert f"{POINT}: off" in (await shell.check("sysctl debug.fail_point")).decode()
        for text in ("return(5)", "50%sleep(10)", "1*sleep(1000)[pid 7]", "20%return(1)->3*pause"):
            failpoint = SysctlFailpoint("it", "test_fail_point", parse_setting(text))
            before = await failpoint.set(shell)
            assert before.setting == "off"
            assert (await failpoint.read(shell)).setting == text
            await failpoint.reset(shell, before)
            assert (await failpoint.read(shell)).setting == "off"
        with pytest.raises(ConfigurationError, match=r"no fail point .*nowhere"):
            await SysctlFailpoint("it", "nowhere", parse_setting("off")).set(shell)
        refused = await shell.run(f"sysctl '{POINT}=nonsense(1)'")
        assert refused.status != 0
        assert b"Invalid argument" in refused.output

    driven(ready, tmp_path, set_them)


@pytest.mark.parametrize("stops", ["by a panic", "when it is broken into"])
def test_ddb_answers_on_the_console(ready: ReadyKernel, tmp_path: Path, stops: str) -> None:
    order = DebuggerModel(commands=["show pcpu", "show page", "ps", "alltrace"])

    async def ask(guest: RunningGuest) -> None:
        heard = bytearray()
        guest.console.listen(heard.extend)
        await guest.set_up([*DDB.setup, "trial 7"])
        panics = stops == "by a panic"
        if panics:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(5):
                    await guest.channel.run("sysctl debug.kdb.panic=1")
        asked = await ask_debugger(guest, DDB, order, bytes(heard), stopped=panics)
        assert asked.summary("ddb") == "ddb: 4 of 4 commands answered"
        assert re.search(r"^ *\d+ .* sshd$", asked.as_text(), re.MULTILINE)
        # nobody else talks there: no login, whose prompt stood before the panic's words
        assert b"login:" not in heard.replace(b"\r", b"").partition(b"harness: trial, seed 7\n")[0]
        assert guest.process.exit_status is None

    driven(ready, tmp_path, ask)


def test_another_host_key_is_refused(ready: ReadyKernel, tmp_path: Path) -> None:
    assert ready.plan.login is not None
    other = new_key("another")
    changed = replace(ready.plan, login=replace(ready.plan.login, host_key=other.key))

    async def never(_: RunningGuest) -> None:
        raise AssertionError("a server with another key must not be used")

    says = re.escape(f"expected ssh-ed25519 {other.key.fingerprint}")
    with pytest.raises(BootFailedError, match=says):
        driven(replace(ready, plan=changed), tmp_path, never)


def test_a_mapped_page_is_freed_by_what_the_image_compiled(
    request_on: Request, tmp_path: Path
) -> None:
    arms = {arm.name: arm for arm in asyncio.run(prepare_arms(request_on, print))}
    for name, verdict in (("buggy", "reproduced"), ("fixed", "survived")):
        folder = tmp_path / name
        folder.mkdir()
        record = asyncio.run(run_trial(arms[name], 1, 0, 7, folder))
        assert record.verdict == verdict, record.reason
        # not `killed`, as where the compiler leaves out the note of the release it compiles for
        assert name != "buggy" or "freeing mapped page" in record.reason
