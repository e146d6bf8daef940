# SPDX-License-Identifier: BSD-2-Clause
"""The control channel, host side: commands with output and exit status, files in and out."""

import asyncio
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TextIO

from harness.console.frames import MAX_PAYLOAD, TERMINAL, Frame, FrameDecoder, FrameType, encode
from harness.console.guest_channel import ChannelLostError, GuestChannel
from harness.errors import GuestError

UPLOAD_CHUNK = 1024
_STATUS = struct.Struct("<I")


class RemoteCommand:
    """A command running in the guest; iterate for its output as it comes."""

    def __init__(self, channel: "ControlChannel", request: int, frames: "asyncio.Queue[Frame]"):
        self._channel = channel
        self._request = request
        self._frames = frames
        self._may_type = asyncio.Event()
        self._may_type.set()
        self.status: int | None = None
        """Exit status once the command has ended, else None."""

    async def output(self) -> AsyncIterator[bytes]:
        """Chunks of its output until it ends. Raises ChannelLostError or GuestError."""
        while True:
            frame = await self._channel.next_answer(self._frames)
            if frame.type == FrameType.OUTPUT:
                yield frame.payload
            elif frame.type == FrameType.ACK:
                self._may_type.set()
            elif frame.type == FrameType.EXIT:
                if len(frame.payload) != _STATUS.size:
                    raise ChannelLostError(f"an exit status of {len(frame.payload)} bytes")
                (self.status,) = _STATUS.unpack(frame.payload)
                self._channel.forget(self._request)
                return

    async def write(self, data: bytes) -> None:
        """Types `data` at the command's terminal (at most MAX_PAYLOAD bytes at once).

        Waits until what was typed before has been taken, for which `output` must be read: a serial
        port has no flow control, and more at once would overrun the guest's buffer.
        """
        await self._may_type.wait()
        self._may_type.clear()
        await self._channel.send(Frame(FrameType.DATA, self._request, data))

    async def resize(self, rows: int, columns: int) -> None:
        """Tells its terminal the size, in characters."""
        payload = struct.pack("<HH", rows, columns)
        await self._channel.send(Frame(FrameType.WINSIZE, self._request, payload))

    async def kill(self, signal: int = 9) -> None:
        """Sends a signal to the command's process group."""
        await self._channel.send(Frame(FrameType.KILL, self._request, bytes([signal])))


class ControlChannel(GuestChannel):
    """One guest's control channel over an already connected stream.

    Every frame, sent or received, is a line of its log.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, log: TextIO
    ) -> None:
        super().__init__(log)
        self._reader = reader
        self._writer = writer
        self._answers: dict[int, asyncio.Queue[Frame]] = {}
        self._next_request = 1
        self._ready = asyncio.Event()
        self._lost = asyncio.Event()
        self.lost_reason: str | None = None
        self._pump = asyncio.create_task(self._receive())

    async def _receive(self) -> None:
        decoder = FrameDecoder()
        reason = "the control channel was closed"
        try:
            while data := await self._reader.read(65536):
                for frame in decoder.feed(data):
                    self.note("<", frame.name, frame.id, frame.payload)
                    self._dispatch(frame)
        except (GuestError, OSError) as error:
            reason = f"the control channel broke: {error}"
        finally:
            self.lost_reason = reason
            self._lost.set()

    def _dispatch(self, frame: Frame) -> None:
        if frame.type == FrameType.READY:
            self._ready.set()
        elif (queue := self._answers.get(frame.id)) is not None:
            queue.put_nowait(frame)

    def _open_request(self) -> tuple[int, "asyncio.Queue[Frame]"]:
        request = self._next_request
        self._next_request = request % 0xFFFF + 1
        self._answers[request] = asyncio.Queue()
        return request, self._answers[request]

    def forget(self, request: int) -> None:
        """Drops a request whose last answer has come."""
        self._answers.pop(request, None)

    async def send(self, frame: Frame) -> None:
        """Writes one frame."""
        if self._lost.is_set():
            raise ChannelLostError(self.lost_reason or "the control channel is gone")
        self.note(">", frame.name, frame.id, frame.payload)
        try:
            self._writer.write(encode(frame))
            await self._writer.drain()
        except OSError as error:
            raise ChannelLostError(f"the control channel broke: {error}") from error

    async def next_answer(self, queue: "asyncio.Queue[Frame]") -> Frame:
        """The next frame of one request; an ERROR frame is raised as GuestError."""
        frame = queue.get_nowait() if not queue.empty() else await self._wait_for(queue)
        if frame.type == FrameType.ERROR:
            raise GuestError(f"guest: {frame.payload.decode(errors='replace')}")
        return frame

    async def _wait_for(self, queue: "asyncio.Queue[Frame]") -> Frame:
        getting = asyncio.ensure_future(queue.get())
        losing = asyncio.ensure_future(self._lost.wait())
        try:
            await asyncio.wait({getting, losing}, return_when=asyncio.FIRST_COMPLETED)
            if not getting.done():
                raise ChannelLostError(self.lost_reason or "the control channel is gone")
            return getting.result()
        finally:
            getting.cancel()
            losing.cancel()

    async def _request(self, kind: FrameType, payload: bytes = b"") -> Frame:
        request, answers = self._open_request()
        try:
            await self.send(Frame(kind, request, payload))
            return await self.next_answer(answers)
        finally:
            self.forget(request)

    async def wait_ready(self) -> None:
        """Returns when the guest's init has announced itself."""
        ready = asyncio.ensure_future(self._ready.wait())
        lost = asyncio.ensure_future(self._lost.wait())
        try:
            await asyncio.wait({ready, lost}, return_when=asyncio.FIRST_COMPLETED)
            if not self._ready.is_set():
                raise ChannelLostError(self.lost_reason or "the control channel is gone")
        finally:
            ready.cancel()
            lost.cancel()

    async def ping(self) -> None:
        """Returns when the guest's init has answered."""
        await self._request(FrameType.PING)

    async def start(self, command: str, *, terminal: bool = False) -> RemoteCommand:
        """Starts a shell command; its output is read from what is returned.

        UsageError-free by design: a command longer than MAX_PAYLOAD bytes is a ValueError.
        """
        request, answers = self._open_request()
        flags = TERMINAL if terminal else 0
        await self.send(Frame(FrameType.EXEC, request, command.encode(), flags))
        return RemoteCommand(self, request, answers)

    async def put(self, source: Path, destination: str, mode: int = 0o755) -> None:
        """Copies a file of the host into the guest."""
        await self._request(FrameType.PUT, struct.pack("<I", mode) + destination.encode())
        with source.open("rb") as file:
            while chunk := file.read(UPLOAD_CHUNK):
                await self._request(FrameType.DATA, chunk)
        await self._request(FrameType.CLOSE)

    async def get(self, source: str) -> bytes:
        """Content of a file of the guest."""
        request, answers = self._open_request()
        content = bytearray()
        try:
            await self.send(Frame(FrameType.GET, request, source.encode()))
            while (frame := await self.next_answer(answers)).type == FrameType.CONTENT:
                content += frame.payload
        finally:
            self.forget(request)
        return bytes(content)

    async def power_off(self) -> None:
        """Asks the guest to power off; nothing answers."""
        await self.send(Frame(FrameType.POWEROFF))

    async def close(self) -> None:
        """Ends the channel; what was received is in the log."""
        self._writer.close()
        await asyncio.gather(self._pump, return_exceptions=True)


assert UPLOAD_CHUNK <= MAX_PAYLOAD
