# SPDX-License-Identifier: BSD-2-Clause
"""Byte-exact capture of a guest's console, followed live and bounded on disk and in memory."""

import asyncio
from collections.abc import Callable
from typing import BinaryIO

DEFAULT_LIMIT = 128 << 20
"""Bytes of one console that are kept on disk; a guest that prints more goes on unrecorded."""

_MOMENT_SECONDS = 0.01


class ConsoleCapture:
    """Reads a console stream to its end, keeps its bytes in `log` and hands them to listeners.

    Reading never waits for a listener, so a flood does not block the guest for ever; nothing is
    kept in memory; past `limit` bytes the log stops growing, and `dropped` counts the rest.
    """

    def __init__(
        self, reader: asyncio.StreamReader, log: BinaryIO, limit: int = DEFAULT_LIMIT
    ) -> None:
        self._reader = reader
        self._log = log
        self._limit = limit
        self._listeners: list[Callable[[bytes], None]] = []
        self.received = 0
        """Bytes that the guest has printed."""
        self.dropped = 0
        """Bytes of those that did not fit under the limit."""
        self.error: OSError | None = None
        """Why the log could not be written, if so (a full disk)."""
        self._pump = asyncio.create_task(self._receive())

    def listen(self, listener: Callable[[bytes], None]) -> None:
        """Calls `listener` with every later chunk."""
        self._listeners.append(listener)

    def ignore(self, listener: Callable[[bytes], None]) -> None:
        """Calls it no more."""
        self._listeners.remove(listener)

    async def _receive(self) -> None:
        while data := await self._read():
            self._keep(data)
            for listener in tuple(self._listeners):
                listener(data)

    async def _read(self) -> bytes:
        try:
            return await self._reader.read(1 << 18)
        except OSError:
            return b""

    def _keep(self, data: bytes) -> None:
        room = max(0, self._limit - self.received)
        self.received += len(data)
        self.dropped += max(0, len(data) - room)
        if room and self.error is None:
            try:
                self._log.write(data[:room])
                self._log.flush()
            except OSError as error:
                self.error = error

    async def drained(self) -> None:
        """Returns when the guest's end has closed and every byte has been seen."""
        await asyncio.shield(self._pump)

    async def settled(self, seconds: float) -> None:
        """Returns when nothing more comes for a moment, at the latest after so many seconds."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        before = -1
        while before != self.received and loop.time() < end:
            before = self.received
            await asyncio.sleep(_MOMENT_SECONDS)

    async def close(self) -> None:
        """Stops reading."""
        self._pump.cancel()
        await asyncio.gather(self._pump, return_exceptions=True)
