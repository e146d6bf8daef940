# SPDX-License-Identifier: BSD-2-Clause
"""Packets of the gdb remote serial protocol: bytes to packets and back.

The format is that of the GDB manual, appendix E "gdb Remote Serial Protocol", section "Overview":
`$data#checksum`, two hexadecimal digits of the sum of the data's bytes modulo 256; `}` escapes the
next byte (xor 0x20); `X*n` repeats X, n - 29 more times. `+` and `-` acknowledge.
"""

from harness.errors import GuestError

INTERRUPT = b"\x03"
"""What stops a running target; it is no packet."""
ACKNOWLEDGE = b"+"

_START, _END, _ESCAPE, _REPEAT = b"$#}*"
_ESCAPED = frozenset(b"$#}*")
_XOR = 0x20
_REPEAT_BIAS = 29
_MAX_PACKET = 1 << 20


class GdbProtocolError(GuestError):
    """QEMU's gdb server said something that the protocol does not know, or an error."""


def encode_packet(data: bytes) -> bytes:
    """One packet on the line; `data` may hold any bytes."""
    body = bytearray()
    for byte in data:
        if byte in _ESCAPED:
            body += bytes((_ESCAPE, byte ^ _XOR))
        else:
            body.append(byte)
    return b"$%b#%02x" % (bytes(body), sum(body) & 0xFF)


class PacketDecoder:
    """Bytes in, in any chunking; the data of whole packets out, unescaped and expanded.

    Acknowledgements and other bytes between packets are passed over.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The packets completed by `data`. Raises GdbProtocolError for a damaged one."""
        self._buffer += data
        packets = []
        while (packet := self._take()) is not None:
            packets.append(packet)
        return packets

    def _take(self) -> bytes | None:
        start = self._buffer.find(_START)
        if start < 0:
            self._buffer.clear()
            return None
        end = self._buffer.find(_END, start)
        if end < 0 or end + 3 > len(self._buffer):
            if len(self._buffer) - start > _MAX_PACKET:
                raise GdbProtocolError(f"gdb server: a packet of more than {_MAX_PACKET} bytes")
            return None
        body = bytes(self._buffer[start + 1 : end])
        checksum = bytes(self._buffer[end + 1 : end + 3])
        del self._buffer[: end + 3]
        if checksum.lower() != b"%02x" % (sum(body) & 0xFF):
            raise GdbProtocolError(
                f"gdb server: a packet's checksum is {checksum!r}, expected "
                f"{sum(body) & 0xFF:02x}: the line is damaged"
            )
        return _expanded(body)


def _expanded(body: bytes) -> bytes:
    data = bytearray()
    at = 0
    while at < len(body):
        byte = body[at]
        if byte in (_ESCAPE, _REPEAT):
            if at + 1 == len(body):
                raise GdbProtocolError("gdb server: a packet ends within an escape")
            argument = body[at + 1]
            if byte == _ESCAPE:
                data.append(argument ^ _XOR)
            elif not data or argument < _REPEAT_BIAS:
                raise GdbProtocolError("gdb server: a packet repeats nothing")
            else:
                data += data[-1:] * (argument - _REPEAT_BIAS)
            at += 2
        else:
            data.append(byte)
            at += 1
    return bytes(data)
