# SPDX-License-Identifier: BSD-2-Clause
"""From a guest that boots to an SSH connection: when its server listens, and on which port."""

import asyncio
import re
from collections.abc import Awaitable

from qemu.qmp import QMPClient

from harness.console.capture import ConsoleCapture
from harness.console.ssh import SshChannel
from harness.errors import GuestError
from harness.qemu.process import QemuProcess

LOOPBACK = "127.0.0.1"
_FORWARDED = re.compile(rf"^\s*TCP\[HOST_FORWARD\]\s+\d+\s+{re.escape(LOOPBACK)}\s+(\d+)\s", re.M)


class ConsoleLine:
    """Waits for a text on a console that is looked at from its first byte."""

    def __init__(self, console: ConsoleCapture, text: bytes) -> None:
        self._text = text
        self._tail = b""
        self._seen = asyncio.Event()
        console.listen(self._on_data)

    def _on_data(self, data: bytes) -> None:
        if not self._seen.is_set():
            heard = self._tail + data
            if self._text in heard:
                self._seen.set()
            self._tail = heard[-len(self._text) :]

    async def seen(self) -> None:
        """Returns when the text has been printed."""
        await self._seen.wait()


async def log_in(
    channel: SshChannel,
    monitor: QMPClient,
    process: QemuProcess,
    listens: ConsoleLine | None,
) -> None:
    """Connects once the guest has said that its server listens (None: a restored one does).

    The caller bounds the time. Raises GuestError where QEMU ends meanwhile or forwards no port, or
    the server is refused or refuses.
    """
    if listens is not None:
        channel.waits_for = "its console did not say that the SSH server listens"
        await _while_running(process, listens.seen())
    channel.waits_for = "its SSH server listens, but does not answer"
    await _while_running(process, channel.connect(LOOPBACK, await forwarded_port(monitor)))
    channel.waits_for = None


async def forwarded_port(monitor: QMPClient) -> int:
    """The port of the loopback that the host's kernel chose (hostfwd with port 0).

    Raises GuestError where QEMU forwards none.
    """
    answer = await monitor.execute("human-monitor-command", {"command-line": "info usernet"})
    if (found := _FORWARDED.search(str(answer))) is None:
        raise GuestError(f"QEMU forwards no port of {LOOPBACK} to the guest; it says: {answer}")
    return int(found[1])


async def _while_running(process: QemuProcess, work: Awaitable[None]) -> None:
    working = asyncio.ensure_future(work)
    exited = asyncio.ensure_future(process.wait())
    try:
        await asyncio.wait({working, exited}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise GuestError("QEMU ended")
        working.result()
    finally:
        working.cancel()
        exited.cancel()
        await asyncio.gather(working, exited, return_exceptions=True)
