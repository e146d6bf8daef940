# SPDX-License-Identifier: BSD-2-Clause
"""The life of one QEMU process: started with its lines, measured, and never left behind."""

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import psutil

from harness.errors import InfrastructureError
from harness.qemu.command import Lines, QemuCommand

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class HostLines:
    """The harness's ends of QEMU's serial ports and monitor."""

    console: socket.socket
    control: socket.socket
    monitor: socket.socket


def die_with_parent(parent: int) -> None:
    """Makes the calling process end by SIGKILL when its parent's thread ends (prctl(2)).

    Runs between fork and exec. The parent may have gone before the request took effect.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


class QemuProcess:
    """A running QEMU. Start it from the main thread: it dies with the thread that started it."""

    def __init__(self, argv: list[str], popen: "subprocess.Popen[bytes]", lines: HostLines) -> None:
        self.argv = argv
        self.lines = lines
        self._popen = popen
        self._process = psutil.Process(popen.pid)
        self._cpu_seconds = 0.0
        self._exited = asyncio.Event()
        self._pidfd = os.pidfd_open(popen.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._on_exit)

    @classmethod
    def start(cls, command: QemuCommand, messages: BinaryIO) -> "QemuProcess":
        """Starts QEMU; what it prints goes to `messages`. Raises InfrastructureError."""
        pairs = [socket.socketpair() for _ in range(3)]
        theirs = [pair[1] for pair in pairs]
        argv = command.argv(Lines(*(end.fileno() for end in theirs)))
        parent = os.getpid()
        try:
            popen = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=messages,
                stderr=messages,
                pass_fds=[end.fileno() for end in theirs],
                start_new_session=True,
                preexec_fn=lambda: die_with_parent(parent),
            )
        except FileNotFoundError as error:
            for pair in pairs:
                pair[0].close()
            raise InfrastructureError(
                f"{argv[0]} is not installed; `harness doctor` names the package"
            ) from error
        finally:
            for end in theirs:
                end.close()
        return cls(argv, popen, HostLines(*(pair[0] for pair in pairs)))

    @property
    def pid(self) -> int:
        """Process id."""
        return self._popen.pid

    @property
    def exit_status(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._popen.returncode

    def cpu_seconds(self) -> float:
        """CPU time (user and system, all threads) that the process has used so far, in seconds.

        Of a process that has gone, its whole CPU time.
        """
        if not self._exited.is_set():
            with contextlib.suppress(psutil.Error):
                times = self._process.cpu_times()
                self._cpu_seconds = times.user + times.system
        return self._cpu_seconds

    def _on_exit(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        _, status, usage = os.wait4(self.pid, 0)
        self._popen.returncode = os.waitstatus_to_exitcode(status)
        self._cpu_seconds = usage.ru_utime + usage.ru_stime
        self._exited.set()

    async def wait(self) -> int:
        """Returns the exit status when the process has ended."""
        await self._exited.wait()
        status = self.exit_status
        assert status is not None
        return status

    async def kill(self) -> None:
        """Kills the process if it still runs; returns when it has gone."""
        if not self._exited.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            await self._exited.wait()

    async def end(self) -> None:
        """Kills the process if it still runs and takes back what it held."""
        await self.kill()
        os.close(self._pidfd)
        for end in (self.lines.console, self.lines.control, self.lines.monitor):
            end.close()


def require_qemu(binary: str) -> None:
    """Raises InfrastructureError where the program is not installed."""
    if shutil.which(binary) is None:
        raise InfrastructureError(
            f"{binary} is not installed; `harness doctor` names the package that has it"
        )


def qemu_version(binary: str) -> str:
    """First line of `binary --version`. Raises InfrastructureError where it does not run."""
    require_qemu(binary)
    try:
        done = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise InfrastructureError(f"{binary} does not run: {error}") from error
    return done.stdout.splitlines()[0]


def read_messages(path: Path) -> str:
    """What QEMU itself had to say, for a message to the user."""
    text = path.read_text(errors="replace").strip() if path.exists() else ""
    return text[-2000:]
