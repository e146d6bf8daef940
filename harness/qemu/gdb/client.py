# SPDX-License-Identifier: BSD-2-Clause
"""A client of QEMU's gdb server: vCPUs, registers, memory, breakpoints, stop and continue.

QEMU's server (gdbstub.c) is all-stop: a packet other than a resumption is only served while the
guest is stopped, and a connection stops it. vCPUs are threads `p1.1`, `p1.2`, ….
"""

import asyncio
import re
from dataclasses import dataclass

from harness.qemu.gdb.architecture import Architecture
from harness.qemu.gdb.packets import (
    ACKNOWLEDGE,
    INTERRUPT,
    GdbProtocolError,
    PacketDecoder,
    encode_packet,
)
from harness.qemu.gdb.registers import Register, Registers, included_files, parse_layout

ANSWER_SECONDS = 10.0
_READ_CHUNK = 1024
"""Bytes of memory in one packet; QEMU's packets end at 4,096 characters (MAX_PACKET_LENGTH)."""
_PAGE = 4096
_XML_CHUNK = 0x7F8
_STOPS = (b"T", b"S", b"W", b"X")
_THREAD = re.compile(rb"thread:(?P<thread>[^;]+);")


@dataclass(frozen=True)
class Stop:
    """Why the guest stopped: a signal's number (5: breakpoint, 2: asked to) and on which vCPU."""

    signal: int
    thread: str | None

    @property
    def at_breakpoint(self) -> bool:
        """Whether a breakpoint or a single step ended the run."""
        return self.signal == 5


class GdbClient:
    """One connection. Times out with GdbProtocolError; raises it too when the line ends.

    `session.attached()` opens one on a running guest and leaves that running afterwards.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, arch: Architecture
    ) -> None:
        self.arch = arch
        self._reader = reader
        self._writer = writer
        self._decoder = PacketDecoder()
        self._packets: list[bytes] = []
        self._layout: dict[str, Register] = {}
        self._selected: str | None = None
        self._acknowledges = True

    async def open(self) -> None:
        """Agrees on what is spoken and reads the registers' layout; the guest is then stopped."""
        await self.ask(b"qSupported:multiprocess+;swbreak+;hwbreak+;xmlRegisters=i386,arm,powerpc")
        if await self.ask(b"QStartNoAckMode") == b"OK":
            self._acknowledges = False
        self._layout = parse_layout(await self._descriptions("target.xml"))

    async def _descriptions(self, name: str) -> list[str]:
        text = await self._read_description(name)
        below = [await self._descriptions(included) for included in included_files(text)]
        return [text, *(description for several in below for description in several)]

    async def _read_description(self, name: str) -> str:
        content = b""
        while True:
            answer = await self.ask(
                b"qXfer:features:read:%b:%x,%x" % (name.encode(), len(content), _XML_CHUNK)
            )
            if answer[:1] not in (b"m", b"l"):
                raise GdbProtocolError(f"gdb server: no target description {name}: {answer[:40]!r}")
            content += answer[1:]
            if answer[:1] == b"l":
                return content.decode()

    async def ask(self, request: bytes) -> bytes:
        """The answer to a packet that resumes nothing; late stop reports are passed over."""
        await self._send(request)
        while (answer := await self._receive(ANSWER_SECONDS)).startswith(_STOPS):
            pass
        return answer

    async def _command(self, request: bytes) -> None:
        if (answer := await self.ask(request)) != b"OK":
            raise GdbProtocolError(
                f"gdb server: {request.decode(errors='replace')} was answered by {answer[:60]!r}, "
                "expected OK"
            )

    async def _send(self, request: bytes) -> None:
        await self._write(encode_packet(request))

    async def _write(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise GdbProtocolError(f"gdb server: the line broke: {error}") from error

    async def _receive(self, seconds: float) -> bytes:
        try:
            async with asyncio.timeout(seconds):
                while not self._packets:
                    data = await self._reader.read(65536)
                    if not data:
                        raise GdbProtocolError("gdb server: QEMU closed the line")
                    self._packets = self._decoder.feed(data)
                    if self._acknowledges and self._packets:
                        await self._write(ACKNOWLEDGE * len(self._packets))
        except TimeoutError:
            raise GdbProtocolError(f"gdb server: no answer within {seconds:g} s") from None
        except OSError as error:
            raise GdbProtocolError(f"gdb server: the line broke: {error}") from error
        return self._packets.pop(0)

    async def threads(self) -> tuple[str, ...]:
        """The vCPUs' thread ids, vCPU 0 first."""
        found: list[str] = []
        answer = await self.ask(b"qfThreadInfo")
        while answer.startswith(b"m"):
            found += answer[1:].decode().split(",")
            answer = await self.ask(b"qsThreadInfo")
        if answer != b"l" or not found:
            raise GdbProtocolError(f"gdb server: the list of vCPUs ended with {answer[:40]!r}")
        return tuple(found)

    async def is_halted(self, thread: str) -> bool:
        """Whether a vCPU waits for an interrupt (HLT, WFI, …)."""
        answer = await self.ask(b"qThreadExtraInfo,%b" % thread.encode())
        try:
            return "halted" in bytes.fromhex(answer.decode()).decode()
        except ValueError as error:
            raise GdbProtocolError(f"gdb server: no state of {thread}: {answer[:40]!r}") from error

    async def _select(self, thread: str) -> None:
        if self._selected != thread:
            await self._command(b"Hg%b" % thread.encode())
            self._selected = thread

    async def registers(self, thread: str) -> Registers:
        """All registers of a vCPU that the `g` packet has: the general ones, pc, flags."""
        await self._select(thread)
        answer = await self.ask(b"g")
        if answer.startswith(b"E") or not answer:
            raise GdbProtocolError(f"gdb server: no registers of {thread}: {answer[:40]!r}")
        return Registers.from_packet(answer, self._layout, self.arch)

    async def write_register(self, thread: str, name: str, value: int) -> None:
        """Sets a register of a vCPU."""
        register = self._layout.get(name)
        if register is None:
            raise GdbProtocolError(f"gdb server: no register {name}")
        await self._select(thread)
        content = value.to_bytes(register.size, "little").hex().encode()
        await self._command(b"P%x=%b" % (register.number, content))

    async def read_memory(self, thread: str, address: int, size: int) -> bytes:
        """The `size` bytes at a virtual address as a vCPU sees it; fewer if the rest is not mapped.

        An address that is not mapped at all gives no bytes.
        """
        await self._select(thread)
        content = b""
        while len(content) < size:
            at = address + len(content)
            # QEMU answers a read that goes into a page that is not mapped by an error alone
            many = min(_READ_CHUNK, size - len(content), _PAGE - at % _PAGE)
            answer = await self.ask(b"m%x,%x" % (at, many))
            if answer.startswith(b"E"):
                break
            try:
                chunk = bytes.fromhex(answer.decode())
            except ValueError as error:
                raise GdbProtocolError(f"gdb server: memory as {answer[:40]!r}") from error
            content += chunk
            if len(chunk) < many:
                break
        return content

    async def write_memory(self, thread: str, address: int, content: bytes) -> None:
        """Writes bytes at a virtual address as a vCPU sees it. GdbProtocolError if not mapped."""
        await self._select(thread)
        for start in range(0, len(content), _READ_CHUNK):
            chunk = content[start : start + _READ_CHUNK]
            await self._command(b"M%x,%x:%b" % (address + start, len(chunk), chunk.hex().encode()))

    async def set_breakpoint(self, address: int, *, hardware: bool = False) -> None:
        """Stops every vCPU that reaches a virtual address.

        Under TCG both kinds leave the guest's memory alone; under KVM a software one patches it.
        """
        await self._command(b"Z%d,%x,1" % (hardware, address))

    async def clear_breakpoint(self, address: int, *, hardware: bool = False) -> None:
        """Removes a breakpoint."""
        await self._command(b"z%d,%x,1" % (hardware, address))

    async def resume(self, thread: str | None = None) -> None:
        """Lets all vCPUs run, or only one while the others stay stopped."""
        await self._send(b"vCont;c" + (b":" + thread.encode() if thread else b""))

    async def step(self, thread: str) -> Stop:
        """Executes one instruction of a vCPU; the others stay stopped."""
        await self._send(b"vCont;s:" + thread.encode())
        return await self.wait_stop(ANSWER_SECONDS)

    async def interrupt(self) -> Stop:
        """Stops the guest; returns when it has. It may have stopped by itself just before."""
        await self._write(INTERRUPT)
        return await self.wait_stop(ANSWER_SECONDS)

    async def wait_stop(self, seconds: float) -> Stop:
        """The next stop of a guest that was let run. GdbProtocolError if none comes."""
        while not (answer := await self._receive(seconds)).startswith(_STOPS):
            pass
        if answer[:1] in (b"W", b"X"):
            raise GdbProtocolError("gdb server: the guest has ended")
        found = _THREAD.search(answer)
        try:
            signal = int(answer[1:3], 16)
        except ValueError as error:
            raise GdbProtocolError(f"gdb server: a stop as {answer[:40]!r}") from error
        return Stop(signal, found["thread"].decode() if found else None)

    async def run_until_stop(self, seconds: float) -> Stop | None:
        """The next stop of a guest that was let run; None, and stopped, if none came in time."""
        try:
            async with asyncio.timeout(seconds):
                return await self.wait_stop(seconds + ANSWER_SECONDS)
        except TimeoutError:
            stop = await self.interrupt()
            return stop if stop.at_breakpoint else None

    async def detach(self) -> None:
        """Removes all breakpoints and lets the guest run; the connection is of no use after it."""
        await self._command(b"D;1")
