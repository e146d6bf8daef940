# SPDX-License-Identifier: BSD-2-Clause
"""The hooks' code in a real Linux guest: built as a module for a packaged kernel, in seconds."""

import asyncio
import re
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from running import PROJECT

from harness.console.channel import ControlChannel
from harness.console.guest_channel import ChannelLostError
from harness.errors import ConfigurationError
from harness.failpoints.grammar import parse_setting
from harness.failpoints.inside import HookFailpoint, Reading
from harness.kernels.apt import fetch_package, unpack
from harness.paths import cache_folder
from harness.plan.load import load_guest, load_target
from harness.qemu.guest import GuestFiles, started_guest
from harness.trials.prepare import ReadyKernel, Request, prepare_kernel

CODE = PROJECT / "harness" / "failpoints" / "linux"
MODULE = PROJECT / "tests" / "guest" / "hook_module" / "hook_module.c"
FOLDER = "/sys/kernel/debug/fail_point"
PASS = "echo x > /proc/pass"

pytestmark = [pytest.mark.guest, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def ready() -> ReadyKernel:
    """A packaged 6.1 kernel."""
    target, guest = load_target(PROJECT, "linux-swapin-aba"), load_guest(PROJECT, "linux-x86_64")
    request = Request(target, guest, PROJECT, cache_folder())
    return asyncio.run(prepare_kernel(request, "fixed", print))


@pytest.fixture(scope="module")
def module(ready: ReadyKernel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module, built with that kernel's headers."""
    for tool in ("make", "gcc"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool} on this host")
    folder = tmp_path_factory.mktemp("module")
    release = ready.kernel.release
    flavour = re.fullmatch(r"(\d+\.\d+)(\.\d+-\d+)-cloud-amd64", release)
    if flavour is None:
        pytest.skip(f"its headers are not where they are looked for: {release}")
    version = flavour[1] + flavour[2]
    names = (f"linux-headers-{release}", f"linux-headers-{version}-common")
    for name in (*names, f"linux-kbuild-{flavour[1]}"):
        unpack(fetch_package(name, "bookworm", "amd64", cache_folder(), print), folder)
    headers = folder / "usr/src" / names[0]
    makefile = headers / "Makefile"
    makefile.write_text(makefile.read_text().replace("/usr/src", f"{folder}/usr/src"))
    source = folder / "module"
    (source / "linux").mkdir(parents=True)
    shutil.copy(MODULE, source)
    shutil.copy(CODE / "fail_point.c", source)
    shutil.copy(CODE / "fail_point.h", source / "linux")
    (source / "Makefile").write_text("obj-m := hook_module.o\nccflags-y := -I$(src) -Werror\n")
    command = [
        "make",
        "-C",
        str(headers),
        f"M={source}",
        "CONFIG_DEBUG_INFO_BTF_MODULES=",
        "modules",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return source / "hook_module.ko"


Guest = Callable[[Callable[[ControlChannel], Awaitable[None]]], None]


@pytest.fixture
def guest(ready: ReadyKernel, module: Path, tmp_path: Path) -> Guest:
    """Runs a test in a guest that has loaded the module."""

    async def run(test: Callable[[ControlChannel], Awaitable[None]]) -> None:
        async with started_guest(ready.plan, GuestFiles.within(tmp_path)) as running:
            await running.channel.put(module, "/tmp/hook_module.ko")
            await running.channel.check("insmod /tmp/hook_module.ko")
            await test(running.channel)

    return lambda test: asyncio.run(run(test))


async def passed(channel: ControlChannel, point: str, do: str, command: str) -> tuple[str, Reading]:
    """What a command prints while a hook is set, and what the hook is then."""
    hook = HookFailpoint("x", point, parse_setting(do))
    before = await hook.set(channel)
    assert before.setting == "off"
    printed = (await channel.run(command)).output.decode().strip()
    now = await hook.read(channel)
    await hook.reset(channel, before)
    return printed, now


def count(passes: int) -> str:
    return f"n=0; for i in $(seq 1 {passes}); do {PASS} 2> /dev/null || n=$((n + 1)); done; echo $n"


TIMED = f"a=$(cut -d' ' -f1 /proc/uptime); {PASS}; echo $a $(cut -d' ' -f1 /proc/uptime)"


def seconds(printed: str) -> float:
    begin, end = (float(word) for word in printed.split())
    return end - begin


def test_return_its_counts_and_chains(guest: Guest) -> None:
    async def test(channel: ControlChannel) -> None:
        printed, now = await passed(channel, "returns", "25%return(-28)", count(200))
        assert 15 <= int(printed) <= 85  # 50 expected; 5 standard deviations are 31
        assert now.setting == "25%return(-28)"
        assert now.counters == {
            "evaluated": 200, "fired": int(printed), "held": 0, "spun": 0,
        }  # fmt: skip
        chain = "3*return(-5)->2*return(-28)->off"
        printed, now = await passed(channel, "returns", chain, f"{PASS};" * 7)
        assert (
            re.findall("error: (.*)", printed)
            == ["Input/output error"] * 3 + ["No space left on device"] * 2
        )
        assert (now.setting, now.counters["fired"]) == ("off", 5)
        printed, _ = await passed(channel, "returns", "print(1)->return(-17)", PASS)
        assert "File exists" in printed
        assert "returns executes, sh" in (await channel.check("dmesg | tail -1")).decode()

    guest(test)


def test_holds_and_what_must_not_sleep(guest: Guest) -> None:
    async def test(channel: ControlChannel) -> None:
        printed, now = await passed(channel, "holds", "sleep(300)", TIMED)
        assert seconds(printed) >= 0.29
        assert now.counters["spun"] == 0
        printed, _ = await passed(channel, "holds", "1*delay(250000)", TIMED)
        assert seconds(printed) >= 0.24
        for point in ("atomic", "locked"):  # said so, and found out
            printed, now = await passed(channel, point, "1*sleep(200)", TIMED)
            assert seconds(printed) >= 0.19
            assert now.counters["spun"] == 1
        log = (await channel.check("dmesg")).decode()
        assert "BUG:" not in log
        assert "WARNING:" not in log

    guest(test)


def test_a_pause_ends_with_the_setting_or_the_process(guest: Guest) -> None:
    async def test(channel: ControlChannel) -> None:
        command = f"{PASS} & sleep 1; cat {FOLDER}/status_holds; echo off > {FOLDER}/holds; wait"
        hook = HookFailpoint("x", "holds", parse_setting("pause"))
        await hook.set(channel)
        assert "held 1\n" in (await channel.check(command)).decode()
        assert (await hook.read(channel)).setting == "off"
        killed = f"sh -c '{PASS}' & p=$!; sleep 1; kill -9 $p; wait $p; echo $?"
        printed, now = await passed(channel, "holds", "pause", killed)
        assert printed.endswith("137")
        assert now.counters["held"] == 0
        printed, now = await passed(channel, "holds", "pause[pid 999999]", TIMED)
        assert now.counters["fired"] == 0

    guest(test)


def test_what_it_does_not_take(guest: Guest) -> None:
    async def test(channel: ControlChannel) -> None:
        with pytest.raises(ConfigurationError, match=r"does not take `return\(5\)`.*not supported"):
            await HookFailpoint("x", "holds", parse_setting("return(5)")).set(channel)
        with pytest.raises(ConfigurationError, match="no hook 'hold'; similar: holds"):
            await HookFailpoint("x", "hold", parse_setting("off")).set(channel)
        await channel.check(f"echo '7%pause' > {FOLDER}/holds")
        for bad in (
            "sleep", "5%%off", "return(", "0%return", "101%return", "pause(3", "foo", "",
            "return(99999999999)", "delay(-1)", "off->", "off->return x", "1.%off", "0*off",
        ):  # fmt: skip
            assert (await channel.run(f"echo '{bad}' > {FOLDER}/holds")).status != 0, bad
        assert await channel.check(f"cat {FOLDER}/holds") == b"7%pause\n"
        longest = "->".join(["12.3456%1*return(-1)[pid 1234567]"] * 20)
        _, now = await passed(channel, "returns", longest, "true")
        assert now.setting == longest

    guest(test)


def test_panic(guest: Guest, tmp_path: Path) -> None:
    async def test(channel: ControlChannel) -> None:
        with pytest.raises(ChannelLostError):
            await channel.run(f"echo panic > {FOLDER}/holds; {PASS}")
        for _ in range(50):  # its last words may still be on their way
            if b"fail point holds panics" in (tmp_path / "console.log").read_bytes():
                return
            await asyncio.sleep(0.1)
        raise AssertionError("no panic on the console")

    guest(test)
