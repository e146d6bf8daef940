# SPDX-License-Identifier: BSD-2-Clause
"""A running guest: QEMU with its console, control channel and monitor, booted or restored."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from qemu.qmp import QMPClient, QMPError

from harness.console.capture import DEFAULT_LIMIT, ConsoleCapture
from harness.console.channel import ControlChannel
from harness.console.guest_channel import GuestChannel
from harness.console.ssh import Login, SshChannel
from harness.console.text import last_lines
from harness.errors import GuestError
from harness.qemu.command import Boot, Disk, Machine, Memory, QemuCommand
from harness.qemu.process import QemuProcess, read_messages
from harness.qemu.snapshot import Snapshot, make_overlay
from harness.qemu.ssh_port import ConsoleLine, log_in


class BootFailedError(GuestError):
    """The guest did not become ready; the message has the reason and the console's end."""


@dataclass(frozen=True)
class GuestFiles:
    """Where one guest's console, control channel and QEMU's own messages are written."""

    console: Path
    control: Path
    messages: Path

    @classmethod
    def within(cls, folder: Path) -> "GuestFiles":
        """The usual names in an existing folder."""
        return cls(folder / "console.log", folder / "control.log", folder / "qemu.log")


@dataclass(frozen=True)
class GuestPlan:
    """All that starting one guest takes; `boot_seconds` is the wall-clock limit until ready."""

    machine: Machine
    boot: Boot
    boot_seconds: float
    console_limit: int = DEFAULT_LIMIT
    login: Login | None = None
    """How to log in to a guest that is driven over SSH."""


@dataclass(frozen=True)
class RunningGuest:
    """A guest that is ready: it answers on its channel."""

    process: QemuProcess
    console: ConsoleCapture
    channel: GuestChannel
    monitor: QMPClient
    files: GuestFiles
    setup_seconds: float
    keyboard: asyncio.StreamWriter
    """What is written to it is typed at the console."""

    async def set_up(self, commands: Sequence[str]) -> None:
        """Runs shell commands that must all succeed, in `setup_seconds` altogether.

        Raises GuestError.
        """
        command = ""
        try:
            async with asyncio.timeout(self.setup_seconds):
                for command in commands:
                    await self.channel.check(command)
        except TimeoutError as error:
            raise GuestError(
                f"in the guest, `{command}` did not end within {self.setup_seconds:g} s"
            ) from error

    async def hmp(self, command: str) -> str:
        """Answer of a human monitor command such as `info registers -a`."""
        answer = await self.monitor.execute("human-monitor-command", {"command-line": command})
        return str(answer)


@asynccontextmanager
async def started_guest(
    plan: GuestPlan,
    files: GuestFiles,
    *,
    snapshot: Snapshot | None = None,
    memory: Memory | None = None,
    overlay: Path | None = None,
    plugin: tuple[str, ...] = (),
    answers: bool = True,
) -> AsyncIterator[RunningGuest]:
    """Boots the guest, or restores `snapshot`; yields it ready and ends QEMU afterwards.

    `memory` backs a boot's memory by a file, so that a snapshot can be saved from it, and `overlay`
    is the file for what it writes to its disk, if it has one. A guest that `answers` to nobody, an
    initramfs that is not the harness's, is yielded as soon as QEMU runs. Raises
    BootFailedError where the guest does not become ready, InfrastructureError for the host.
    """
    if snapshot is not None:
        memory = Memory(snapshot.memory_paths, private=True)
    boot = plan.boot
    if (disk := boot.disk) is None:
        overlay = None
    elif snapshot is not None:
        boot = replace(boot, disk=Disk(snapshot.disk_path, "qcow2"))
    elif overlay is not None:
        make_overlay(disk, overlay)
    command = QemuCommand(plan.machine, boot, memory, snapshot is not None, plugin, overlay)
    async with AsyncExitStack() as stack:
        console_log = stack.enter_context(files.console.open("wb"))
        if snapshot is not None and snapshot.console is not None:
            console_log.write(snapshot.console.read_bytes())
        control_log = stack.enter_context(files.control.open("w", encoding="utf-8", buffering=1))
        messages = stack.enter_context(files.messages.open("wb"))
        process = QemuProcess.start(command, messages)
        stack.push_async_callback(process.end)
        console_reader, console_writer = await asyncio.open_connection(sock=process.lines.console)
        stack.callback(console_writer.close)
        console = ConsoleCapture(console_reader, console_log, plan.console_limit)
        stack.push_async_callback(console.close)
        listens = None
        if plan.login is not None and snapshot is None:
            listens = ConsoleLine(console, plan.login.ready)
        reader, writer = await asyncio.open_connection(sock=process.lines.control)
        channel: ControlChannel | SshChannel
        if plan.login is None:
            channel = ControlChannel(reader, writer, control_log)
        else:
            stack.callback(writer.close)
            channel = SshChannel(plan.login, control_log)
        stack.push_async_callback(channel.close)
        monitor = QMPClient("qemu")
        stack.push_async_callback(_disconnect, monitor)
        # first of all at the end: a QEMU that is stuck would hold up the closing of its lines
        stack.push_async_callback(process.kill)
        guest = RunningGuest(
            process, console, channel, monitor, files, plan.boot_seconds, console_writer
        )
        try:
            async with asyncio.timeout(plan.boot_seconds):
                await monitor.connect(process.lines.monitor)
                if snapshot is not None:
                    await snapshot.load(monitor)
                if not answers:
                    pass
                elif isinstance(channel, SshChannel):
                    await log_in(channel, monitor, process, listens)
                elif snapshot is None:
                    await channel.wait_ready()
                else:
                    await channel.ping()
        except TimeoutError as error:
            why = channel.waits_for if isinstance(channel, SshChannel) else None
            reason = f"not ready after {plan.boot_seconds:g} s" + (f": {why}" if why else "")
            raise _boot_failed(guest, reason) from error
        except (GuestError, QMPError, EOFError, OSError) as error:
            with suppress(TimeoutError):
                async with asyncio.timeout(2):
                    await console.drained()
                    await process.wait()
            raise _boot_failed(guest, _death(process) or str(error)) from error
        yield guest


async def _disconnect(monitor: QMPClient) -> None:
    with suppress(QMPError, EOFError, OSError):
        await monitor.disconnect()


def _death(process: QemuProcess) -> str | None:
    status = process.exit_status
    if status is None:
        return None
    return f"QEMU ended with status {status} before the guest was ready"


def _boot_failed(guest: RunningGuest, reason: str) -> BootFailedError:
    parts = [f"the guest did not become ready: {reason}"]
    if messages := read_messages(guest.files.messages):
        parts.append(f"QEMU said: {messages}")
    if console := guest.files.console.read_bytes():
        parts.append("last lines of its console:\n" + last_lines(console))
    return BootFailedError("\n  ".join(parts))
