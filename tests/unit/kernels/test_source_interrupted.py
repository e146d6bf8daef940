# SPDX-License-Identifier: BSD-2-Clause
"""Builds that are cut off: nothing keeps running, and nothing half done is taken for whole."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from fake_linux import FakeLinux

_BUILD = """
import asyncio, pathlib, sys
from harness.kernels.kbuild import builder
from harness.kernels.source.build import SourceRecipe, built_kernel
builder.require_tools = lambda compiler, arch: None
cache, target, patch, loop = sys.argv[1:]
recipe = SourceRecipe(
    package="linux-source-5.10", suite="bullseye", config="race.config", patches=[patch]
)
async def inside_a_loop(*arguments):
    return built_kernel(*arguments)
target = pathlib.Path(target)
linux = builder.linux_builder(recipe, "x86_64", target)
arguments = (recipe, linux, target, pathlib.Path(cache), print)
if loop == "loop":
    asyncio.run(inside_a_loop(*arguments))
else:
    built_kernel(*arguments)
"""


@contextmanager
def _slow_build(
    fake: FakeLinux, loop: str = "plain"
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A build in a process of its own that has got stuck in a compilation; that one's id."""
    patch = fake.patch("slow.patch", "mm/slow", lambda _: "take your time\n")
    process = subprocess.Popen(
        [sys.executable, "-c", _BUILD, str(fake.cache), str(fake.target), patch, loop],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"CCACHE_DISABLE": "1"},
    )
    try:
        yield process, _sleeper(fake.cache)
    finally:
        process.kill()
        process.wait()


def _sleeper(cache: Path) -> int:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for path in cache.glob("builds/*/source/objects/sleeper"):
            if text := path.read_text().strip():
                return int(text)
        time.sleep(0.02)
    raise AssertionError("the build never came to its compilations")


def _gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("loop", ["plain", "loop"])
def test_one_ctrl_c_ends_make_and_its_children(fake_linux: FakeLinux, loop: str) -> None:
    with _slow_build(fake_linux, loop) as (process, sleeper):
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=15)
        assert "KeyboardInterrupt" in output
        assert _gone(sleeper)
    assert fake_linux.cached_kernels() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_next_build_is_whole(fake_linux: FakeLinux, number: signal.Signals) -> None:
    with _slow_build(fake_linux) as (process, sleeper):
        process.send_signal(number)
        process.wait(15)
        assert _gone(sleeper)
    assert fake_linux.cached_kernels() == []
    kernel = fake_linux.build()
    objects = (fake_linux.objects / "mm/memory.o").read_bytes()
    assert objects.startswith(b"\x7fELF")
    assert kernel.image.is_file()
    assert not (fake_linux.build_folder / "source/mm/slow").exists()


def test_what_a_cut_off_make_wrote_is_removed(fake_linux: FakeLinux) -> None:
    fake_linux.build()
    fake_linux.compiled()
    marker = fake_linux.build_folder / "make-is-running"
    marker.touch()
    half = fake_linux.objects / "mm/swap.o"
    half.write_bytes(b"half")
    patch = fake_linux.patch("new.patch", "mm/ksm.c", lambda _: "int ksm;\n")
    fake_linux.build(patch)
    assert fake_linux.compiled() == ["mm/ksm.c", "mm/swap.c"]
    assert any("cut off: removed" in line for line in fake_linux.said)
    assert not marker.exists()


def test_leftovers_of_killed_builds_go(fake_linux: FakeLinux) -> None:
    kernel = fake_linux.build()
    kept = kernel.image.parent
    leftovers = [kept.with_name(f".{kept.name}.4711"), fake_linux.build_folder / "patched-abc"]
    for leftover in leftovers:
        leftover.mkdir()
    kernel.image.unlink()
    assert fake_linux.build() == kernel
    assert not any(leftover.exists() for leftover in leftovers)
