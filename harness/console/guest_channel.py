# SPDX-License-Identifier: BSD-2-Clause
"""What a guest can be asked to do, whatever line it is driven over."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from harness.console.channel import CommandResult


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


class GuestChannel(Protocol):
    """One guest's line to the harness: ControlChannel (a serial port) or SshChannel.

    Every method raises ChannelLostError once the other end is gone, and GuestError where the guest
    refuses. None has a time limit of its own: use asyncio.timeout.
    """

    log_error: OSError | None
    """Why the channel's log could not be written, if so (a full disk)."""

    async def ping(self) -> None:
        """Returns when a process of the guest has answered."""
        ...

    async def start(self, command: str, *, terminal: bool = False) -> GuestCommand:
        """Starts a shell command, with a terminal if asked for."""
        ...

    async def run(self, command: str) -> CommandResult:
        """Runs a shell command to its end."""
        ...

    async def check(self, command: str) -> bytes:
        """Output of a shell command that must exit with 0, else CommandFailedError."""
        ...

    async def put(self, source: Path, destination: str, mode: int = 0o755) -> None:
        """Copies a file of the host into the guest."""
        ...

    async def get(self, source: str) -> bytes:
        """Content of a file of the guest."""
        ...

    async def power_off(self) -> None:
        """Asks the guest to power off."""
        ...

    async def close(self) -> None:
        """Ends the channel; what was received is in its log."""
        ...
