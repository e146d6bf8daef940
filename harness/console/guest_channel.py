# SPDX-License-Identifier: BSD-2-Clause
"""What a guest can be asked to do, whatever line it is driven over."""

import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TextIO

from harness.errors import GuestError

_LOGGED = 512  # bytes of what went over the line that its line in the log shows


class ChannelLostError(GuestError):
    """The channel ended or was corrupted; the guest cannot be driven any more."""


@dataclass(frozen=True)
class CommandResult:
    """Exit status (128 + signal where one ended it) and output, stderr merged in."""

    status: int
    output: bytes


class CommandFailedError(GuestError):
    """A command that had to succeed in the guest did not."""

    @classmethod
    def of(cls, command: str, result: CommandResult) -> "CommandFailedError":
        """The error with the end of what the command said."""
        text = result.output.decode(errors="replace").strip()
        return cls(f"in the guest, `{command}` ended with status {result.status}: {text[-2000:]}")


class GuestCommand(Protocol):
    """A command running in the guest; read its output to the end."""

    status: int | None
    """Exit status (128 + signal where one ended it) once the command has ended, else None."""

    def output(self) -> AsyncIterator[bytes]:
        """Chunks of its output, stderr merged in, until it ends. Raises GuestError."""
        ...

    async def write(self, data: bytes) -> None:
        """Types `data` at the command's terminal, MAX_PAYLOAD bytes at most."""
        ...

    async def resize(self, rows: int, columns: int) -> None:
        """Tells its terminal the size, in characters."""
        ...

    async def kill(self, signal: int = 9) -> None:
        """Sends a signal to the command's process group."""
        ...


class GuestChannel(ABC):
    """One guest's line to the harness: ControlChannel (a serial port) or SshChannel.

    All that goes over it is noted in `log`, a line each, so that a person can read what was done.
    Every method raises ChannelLostError once the other end is gone, and GuestError where the guest
    refuses. None has a time limit of its own: use asyncio.timeout.
    """

    def __init__(self, log: TextIO) -> None:
        self._log = log
        self._opened = time.monotonic()
        self.log_error: OSError | None = None
        """Why the channel's log could not be written, if so (a full disk)."""

    def note(self, direction: str, what: str, number: int, content: bytes = b"") -> None:
        """Writes a line of the log: to (>) or from (<) the guest, of which request."""
        seconds = time.monotonic() - self._opened
        text = content[:_LOGGED].decode(errors="backslashreplace")
        try:
            self._log.write(f"{seconds:10.4f} {direction} {what} {number} {text!r}\n")
        except OSError as error:
            self.log_error = error

    async def run(self, command: str) -> CommandResult:
        """Runs a shell command to its end."""
        running = await self.start(command)
        output = b"".join([chunk async for chunk in running.output()])
        assert running.status is not None
        return CommandResult(running.status, output)

    async def check(self, command: str) -> bytes:
        """Output of a shell command that must exit with 0, else CommandFailedError."""
        result = await self.run(command)
        if result.status != 0:
            raise CommandFailedError.of(command, result)
        return result.output

    @abstractmethod
    async def ping(self) -> None:
        """Returns when a process of the guest has answered."""

    @abstractmethod
    async def start(self, command: str, *, terminal: bool = False) -> GuestCommand:
        """Starts a shell command, with a terminal if asked for."""

    @abstractmethod
    async def put(self, source: Path, destination: str, mode: int = 0o755) -> None:
        """Copies a file of the host into the guest."""

    @abstractmethod
    async def get(self, source: str) -> bytes:
        """Content of a file of the guest."""

    @abstractmethod
    async def power_off(self) -> None:
        """Asks the guest to power off."""

    @abstractmethod
    async def close(self) -> None:
        """Ends the channel; what was received is in its log."""
