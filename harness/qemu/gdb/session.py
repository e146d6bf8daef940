# SPDX-License-Identifier: BSD-2-Clause
"""Opening QEMU's gdb server on a running guest, and leaving no trace of it.

The server is started when it is wanted, over the monitor, on one end of a socket pair that the
monitor hands to QEMU (`getfd`): it listens nowhere, and a guest that is not looked at pays nothing.
"""

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from qemu.qmp import QMPClient, QMPError

from harness.errors import GuestError
from harness.qemu.gdb.architecture import architecture
from harness.qemu.gdb.client import GdbClient
from harness.qemu.gdb.packets import GdbProtocolError

_serial = itertools.count(1)


@asynccontextmanager
async def attached(monitor: QMPClient, arch: str) -> AsyncIterator[GdbClient]:
    """A client of the guest's gdb server; the guest is stopped, and runs again afterwards.

    One that was stopped before stays so. Raises GdbProtocolError; ConfigurationError for an
    architecture that it does not know.
    """
    name = f"gdb{next(_serial)}"
    known = architecture(arch)
    was_running = await run_state(monitor) == "running"
    async with AsyncExitStack() as stack:
        ours, theirs = socket.socketpair()
        stack.callback(theirs.close)
        reader, writer = await asyncio.open_connection(sock=ours)
        stack.callback(writer.close)
        await _add_line(monitor, name, theirs)
        stack.push_async_callback(_remove_line, monitor, name)
        stack.push_async_callback(_leave, monitor, was_running)
        await _start_server(monitor, name)
        client = GdbClient(reader, writer, known)
        await client.open()
        try:
            yield client
        finally:
            if was_running:
                # breakpoints must be gone before the line is
                with suppress(GdbProtocolError):
                    await client.detach()


async def run_state(monitor: QMPClient) -> str:
    """QEMU's word for what the guest does: `running`, `paused`, `shutdown`, `guest-panicked`, …"""
    answer = await monitor.execute("query-status")
    return str(answer.get("status")) if isinstance(answer, dict) else "unknown"


async def _add_line(monitor: QMPClient, name: str, theirs: socket.socket) -> None:
    try:
        monitor.send_fd_scm(theirs.fileno())
        await monitor.execute("getfd", {"fdname": name})
        address = {"type": "fd", "data": {"str": name}}
        backend = {"type": "socket", "data": {"addr": address, "server": False}}
        await monitor.execute("chardev-add", {"id": name, "backend": backend})
    except QMPError as error:
        raise GuestError(f"QEMU took no line for its gdb server: {error}") from error


async def _start_server(monitor: QMPClient, name: str) -> None:
    command = {"command-line": f"gdbserver chardev:{name}"}
    answer = str(await monitor.execute("human-monitor-command", command))
    if "Could not open" in answer:
        raise GdbProtocolError(f"QEMU started no gdb server: {answer.strip()}")


async def _leave(monitor: QMPClient, was_running: bool) -> None:
    with suppress(QMPError, EOFError, OSError):
        await monitor.execute("human-monitor-command", {"command-line": "gdbserver none"})
        if was_running and await run_state(monitor) == "paused":
            await monitor.execute("cont")


async def _remove_line(monitor: QMPClient, name: str) -> None:
    with suppress(QMPError, EOFError, OSError):
        await monitor.execute("chardev-remove", {"id": name})
