# SPDX-License-Identifier: BSD-2-Clause
"""Frames of the control channel: how host and guest init talk over a serial port.

A frame is, little endian::

    u8 0xA5 | u8 0x5A | u8 type | u8 flags | u16 id | u16 length | payload | u32 crc

with the CRC-32 of IEEE 802.3 over everything between the magic and itself. `id` names the request
that a frame belongs to; 0 is nobody's. The other end is harness/systems/agent/frames.h.
"""

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

from harness.errors import GuestError

MAGIC = b"\xa5\x5a"
MAX_PAYLOAD = 2048
_HEADER = struct.Struct("<2sBBHH")
_TRAILER = struct.Struct("<I")


class FrameType(IntEnum):
    """What a frame asks for (below 64, from the host) or answers (from the guest)."""

    PING = 1
    EXEC = 2
    KILL = 3
    PUT = 4
    DATA = 5
    CLOSE = 6
    GET = 7
    POWEROFF = 8
    WINSIZE = 9
    READY = 65
    PONG = 66
    OUTPUT = 67
    EXIT = 68
    ACK = 69
    CONTENT = 70
    ERROR = 71


TERMINAL = 1
"""Flag of EXEC: give the command a terminal."""


class ChannelCorruptedError(GuestError):
    """The control channel carried bytes that are no frame."""


@dataclass(frozen=True)
class Frame:
    """One message; `payload` is at most MAX_PAYLOAD bytes."""

    type: int
    id: int = 0
    payload: bytes = b""
    flags: int = 0

    @property
    def name(self) -> str:
        """The type's name, for a log; its number where it has none."""
        try:
            return FrameType(self.type).name
        except ValueError:
            return str(self.type)


def encode(frame: Frame) -> bytes:
    """The frame's bytes on the line. ValueError if the payload exceeds MAX_PAYLOAD bytes."""
    if len(frame.payload) > MAX_PAYLOAD:
        raise ValueError(f"a frame carries at most {MAX_PAYLOAD} bytes, not {len(frame.payload)}")
    header = _HEADER.pack(MAGIC, frame.type, frame.flags, frame.id, len(frame.payload))
    body = header[len(MAGIC) :] + frame.payload
    return MAGIC + body + _TRAILER.pack(zlib.crc32(body))


class FrameDecoder:
    """Bytes in, in any chunking; whole frames out.

    Only the guest's init writes to the line, and QEMU loses nothing: a byte that belongs to no
    frame is an error, not something to skip, since what follows could not be trusted.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames completed by `data`. Raises ChannelCorruptedError at the first bad byte."""
        self._buffer += data
        frames = []
        while (frame := self._take()) is not None:
            frames.append(frame)
        return frames

    def _take(self) -> Frame | None:
        buffer = self._buffer
        if not MAGIC.startswith(bytes(buffer[:2])):
            raise ChannelCorruptedError(f"expected a frame, found {bytes(buffer[:16])!r}")
        if len(buffer) < _HEADER.size:
            return None
        _, kind, flags, request, length = _HEADER.unpack_from(buffer)
        if length > MAX_PAYLOAD:
            raise ChannelCorruptedError(f"a frame announced {length} bytes")
        total = _HEADER.size + length + _TRAILER.size
        if len(buffer) < total:
            return None
        body = bytes(buffer[len(MAGIC) : total - _TRAILER.size])
        if zlib.crc32(body) != _TRAILER.unpack_from(buffer, total - _TRAILER.size)[0]:
            raise ChannelCorruptedError(f"wrong checksum in a frame of type {kind}")
        del buffer[:total]
        return Frame(type=kind, id=request, payload=body[_HEADER.size - len(MAGIC) :], flags=flags)
