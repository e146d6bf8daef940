# SPDX-License-Identifier: BSD-2-Clause
"""Builds the bare guest, boots it under a QEMU with the plugin, and gives it commands."""

import json
import os
import select
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from elftools.elf.elffile import ELFFile

HERE = Path(__file__).parent
_BOOT_TIMEOUT_S = 20.0
_FLAGS = (
    *("-m32", "-march=i686", "-mgeneral-regs-only", "-ffreestanding", "-nostdlib", "-static"),
    *("-no-pie", "-fno-pic", "-fno-stack-protector", "-fno-asynchronous-unwind-tables"),
    *("-fcf-protection=none", "-O2", "-Wall", "-Wextra", "-Werror"),
    *("-Wl,-Ttext-segment=0x100000", "-Wl,--build-id=none", "-Wl,-z,max-page-size=0x1000"),
)


def missing_tools(qemu: str = "qemu-system-x86_64") -> str | None:
    """Why the bare guest cannot be used on this host, or None if it can."""
    for tool in ("gcc", qemu):
        if shutil.which(tool) is None:
            return f"no {tool} on this host"
    if os.uname().machine != "x86_64":
        return "the bare guest is assembled by the host's gcc, for x86"
    return None


def build_guest(directory: Path) -> Path:
    """Compiles the guest into `directory`; returns the ELF file's path."""
    kernel = directory / "bare.elf"
    sources = [str(HERE / "start.S"), str(HERE / "guest.c")]
    subprocess.run(["gcc", *_FLAGS, *sources, "-o", str(kernel)], check=True, timeout=60)
    return kernel


def point_addresses(kernel: Path) -> dict[str, int]:
    """The addresses of the guest's points, named without their prefix "point_"."""
    with kernel.open("rb") as file:
        symbols = ELFFile(file).get_section_by_name(".symtab")
        return {
            symbol.name.removeprefix("point_"): symbol["st_value"]
            for symbol in symbols.iter_symbols()
            if symbol.name.startswith("point_")
        }


class BareGuest:
    """A booted bare guest; a context manager that kills QEMU at its end."""

    def __init__(
        self, kernel: Path, arguments: list[str], directory: Path, qemu: str = "qemu-system-x86_64"
    ) -> None:
        self._qmp_path = directory / "qmp"
        self.messages = directory / "qemu.log"
        command = [
            *(qemu, "-machine", "pc", "-cpu", "qemu64", "-m", "32", "-smp", "2"),
            *("-accel", "tcg,thread=multi", "-nodefaults", "-display", "none", "-no-reboot"),
            *("-kernel", str(kernel), "-serial", "stdio"),
            *("-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"),
            *("-qmp", f"unix:{self._qmp_path},server=on,wait=off"),
            *arguments,
        ]
        with self.messages.open("wb") as messages:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=messages
            )
        try:
            self._expect(1, _BOOT_TIMEOUT_S, b"R")
        except BaseException:
            self.kill()
            raise

    def __enter__(self) -> "BareGuest":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    def kill(self) -> None:
        """Kills QEMU and waits for its end."""
        self.process.kill()
        self.process.wait(timeout=10)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def send(self, command: str, count: int = 0) -> None:
        """Gives a command (see guest.c) without waiting for its result."""
        assert self.process.stdin is not None
        self.process.stdin.write(command.encode() + count.to_bytes(4, "little"))
        self.process.stdin.flush()

    def result(self, timeout_s: float = 20.0) -> int:
        """The result of the oldest command whose result was not read. Raises TimeoutError."""
        return int.from_bytes(self._expect(4, timeout_s), "little")

    def run(self, command: str, count: int = 0, timeout_s: float = 20.0) -> int:
        """Gives a command and returns its result."""
        self.send(command, count)
        return self.result(timeout_s)

    def monitor(self, line: str) -> str:
        """Executes a line of the human monitor (savevm, loadvm); returns what it prints."""
        (answer,) = self.qmp(("human-monitor-command", {"command-line": line}))
        return str(answer["return"])

    def qmp(self, *commands: str | tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
        """Executes QMP commands, with arguments or without; returns their answers."""
        answers = []
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(str(self._qmp_path))
            stream = connection.makefile("rw")
            stream.readline()  # the greeting
            for command in ("qmp_capabilities", *commands):
                name, values = (command, {}) if isinstance(command, str) else command
                stream.write(json.dumps({"execute": name, "arguments": values}) + "\n")
                stream.flush()
                answer = json.loads(stream.readline())
                while "event" in answer:
                    answer = json.loads(stream.readline())
                answers.append(answer)
        return answers[1:]

    def cpu_seconds(self) -> float:
        """The CPU time of QEMU's threads so far (/proc/PID/schedstat: nanoseconds on the CPU)."""
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9

    def _expect(self, size: int, timeout_s: float, wanted: bytes | None = None) -> bytes:
        assert self.process.stdout is not None
        deadline = time.monotonic() + timeout_s
        got = b""
        while len(got) < size:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise TimeoutError(f"no answer of the guest within {timeout_s:g} s")
            chunk = os.read(self.process.stdout.fileno(), size - len(got))
            if not chunk:
                raise EOFError(f"QEMU has ended: {self.messages.read_text()}")
            got += chunk
        if wanted is not None and got != wanted:
            raise ValueError(f"the guest said {got!r}, expected {wanted!r}")
        return got
