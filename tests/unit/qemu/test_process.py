# SPDX-License-Identifier: BSD-2-Clause
"""A QEMU's life, with a stand-in for QEMU that sleeps."""

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from harness.errors import ExitCode, InfrastructureError
from harness.qemu.command import Boot, Machine, QemuCommand
from harness.qemu.process import QemuProcess, qemu_version

NOWHERE = Path("/nonexistent")


def stand_in(folder: Path, does: str) -> str:
    program = folder / "qemu-stand-in"
    program.write_text(f"#!/bin/sh\n{does}\n")
    program.chmod(0o755)
    return str(program)


def command(binary: str) -> QemuCommand:
    machine = Machine(binary, "pc", "max", 1, 64, "tcg", console=(), control=())
    return QemuCommand(machine, Boot(NOWHERE, NOWHERE, ()))


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def until(condition: object, seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


def test_it_is_ended_and_nothing_is_kept(tmp_path: Path) -> None:
    async def life() -> None:
        with (tmp_path / "messages").open("wb") as messages:
            process = QemuProcess.start(command(stand_in(tmp_path, "exec sleep 100")), messages)
            assert process.exit_status is None
            assert alive(process.pid)
            before = open_files()
            await process.kill()
            await process.end()
            assert open_files() == before - 4
        assert not alive(process.pid)
        assert process.exit_status == -signal.SIGKILL

    asyncio.run(life())


def test_its_helpers_end_with_it(tmp_path: Path) -> None:
    async def life() -> int:
        binary = stand_in(tmp_path, f"sleep 100 & echo $! > {tmp_path}/helper; wait")
        with (tmp_path / "messages").open("wb") as messages:
            process = QemuProcess.start(command(binary), messages)
            await until(
                lambda: (tmp_path / "helper").exists() and (tmp_path / "helper").read_text()
            )
            await process.end()
        return int((tmp_path / "helper").read_text())

    helper = asyncio.run(life())
    asyncio.run(until(lambda: not alive(helper)))


def test_its_own_end_is_noticed_with_status_and_cpu_time(tmp_path: Path) -> None:
    async def life() -> QemuProcess:
        binary = stand_in(
            tmp_path, "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo trouble >&2; exit 3"
        )
        with (tmp_path / "messages").open("wb") as messages:
            process = QemuProcess.start(command(binary), messages)
            assert await process.wait() == 3
            await process.end()
        return process

    process = asyncio.run(life())
    assert process.cpu_seconds() > 0
    assert (tmp_path / "messages").read_text() == "trouble\n"


def test_a_missing_qemu_is_told(tmp_path: Path) -> None:
    async def life() -> None:
        with (tmp_path / "messages").open("wb") as messages:
            QemuProcess.start(command(str(tmp_path / "qemu-system-none")), messages)

    with pytest.raises(InfrastructureError, match="is not installed; `harness doctor`") as caught:
        asyncio.run(life())
    assert caught.value.exit_code == ExitCode.INFRASTRUCTURE
    with pytest.raises(InfrastructureError, match="is not installed"):
        qemu_version(str(tmp_path / "qemu-system-none"))


CHILD = """
import asyncio, sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from test_process import command
from harness.qemu.process import QemuProcess

async def main():
    with open(sys.argv[2], "wb") as messages:
        process = QemuProcess.start(command(sys.argv[1]), messages)
        print(process.pid, flush=True)
        await asyncio.sleep(100)

asyncio.run(main())
"""


def test_it_dies_when_the_harness_is_killed(tmp_path: Path) -> None:
    binary = stand_in(tmp_path, "exec sleep 100")
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, binary, str(tmp_path / "messages"), *sys.path[:1],
         str(Path(__file__).parent)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    pid = int(child.stdout.readline())
    assert alive(pid)
    child.kill()
    child.wait()
    child.stdout.close()
    asyncio.run(until(lambda: not alive(pid)))
