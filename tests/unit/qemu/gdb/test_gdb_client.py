# SPDX-License-Identifier: BSD-2-Clause
"""The client against a server of a few lines: two vCPUs, 8 KiB of memory, one breakpoint."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from harness.qemu.gdb import ARCHITECTURES, GdbClient, GdbProtocolError, force_return, force_returns
from harness.qemu.gdb.packets import PacketDecoder, encode_packet

MEMORY = 0xFFFF888000001000
FUNCTION, CALLER = 0xFFFFFFFF81000100, 0xFFFFFFFF81000205
XML = (
    b'<target><feature><reg name="rax" bitsize="64"/><reg name="rsp" bitsize="64"/>'
    b'<reg name="rip" bitsize="64"/><reg name="cs" bitsize="32"/></feature></target>'
)


class Server:
    """Answers as QEMU does; notes what it is asked."""

    def __init__(self) -> None:
        self.registers = {thread: [thread, MEMORY + 0xFF8, FUNCTION, 0x10] for thread in (1, 2)}
        self.memory = bytearray(8192)
        self.memory[0xFF8:0x1000] = CALLER.to_bytes(8, "little")
        self.asked: list[bytes] = []
        self.stops_at_once = True
        self.selected = 1

    async def serve(self, line: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=line)
        decoder = PacketDecoder()
        writer.write(encode_packet(b"T02thread:p01.01;"))  # connecting stops the guest
        while data := await reader.read(4096):
            if b"\x03" in data:
                writer.write(encode_packet(b"T02thread:p01.01;"))
            for packet in decoder.feed(data):
                self.asked.append(packet)
                answer = self.answer(packet)
                if answer is not None:
                    writer.write(encode_packet(answer))
        writer.close()

    def answer(self, packet: bytes) -> bytes | None:
        if packet.startswith(b"vCont"):
            return b"T05thread:p01.02;" if self.stops_at_once else None
        if packet.startswith(b"Hg"):
            self.selected = int(packet[-2:], 16)
            return b"OK"
        if packet == b"g":
            rax, rsp, rip, cs = self.registers[self.selected]
            sizes = ((rax, 8), (rsp, 8), (rip, 8), (cs, 4))
            return b"".join(value.to_bytes(n, "little") for value, n in sizes).hex().encode()
        if packet.startswith(b"P"):
            number, value = packet[1:].split(b"=")
            content = int.from_bytes(bytes.fromhex(value.decode()), "little")
            self.registers[self.selected][int(number, 16)] = content
            return b"OK"
        if packet[:1] in b"mM":
            where, _, content = packet[1:].partition(b":")
            start, size = (int(word, 16) for word in where.split(b","))
            start -= MEMORY
            if start < 0 or start + size > len(self.memory):
                return b"E14"
            if packet[:1] == b"M":
                self.memory[start : start + size] = bytes.fromhex(content.decode())
                return b"OK"
            return bytes(self.memory[start : start + size]).hex().encode()
        if packet.startswith(b"qXfer"):
            return b"l" + XML
        if packet.startswith(b"qThreadExtraInfo"):
            return (
                (b"CPU#1 [halted ]" if packet.endswith(b"2") else b"CPU#0 [running]").hex().encode()
            )
        known = {b"qfThreadInfo": b"mp01.01,p01.02", b"qsThreadInfo": b"l"}
        return known.get(packet, b"OK" if packet[:1] in b"zZD" else b"")


def run(body: Callable[[GdbClient, Server], Awaitable[None]]) -> Server:
    server = Server()

    async def main() -> None:
        ours, theirs = socket.socketpair()
        serving = asyncio.create_task(server.serve(theirs))
        reader, writer = await asyncio.open_connection(sock=ours)
        client = GdbClient(reader, writer, ARCHITECTURES["x86_64"])
        await client.open()
        await body(client, server)
        writer.close()
        await serving

    asyncio.run(main())
    return server


def test_vcpus_with_their_state_and_registers() -> None:
    async def body(client: GdbClient, _: Server) -> None:
        assert await client.threads() == ("p01.01", "p01.02")
        assert [await client.is_halted(t) for t in await client.threads()] == [False, True]
        assert (await client.registers("p01.02")).values["rax"] == 2

    run(body)


def test_memory_up_to_the_end_of_what_is_mapped() -> None:
    async def body(client: GdbClient, server: Server) -> None:
        server.memory[:] = bytes(range(256)) * 32
        got = await client.read_memory("p01.01", MEMORY + 100, 20000)
        assert got == bytes(server.memory[100:])
        assert await client.read_memory("p01.01", MEMORY - 4096, 16) == b""
        await client.write_memory("p01.01", MEMORY, b"new")
        assert await client.read_memory("p01.01", MEMORY, 4) == b"new\3"
        with pytest.raises(GdbProtocolError, match="E14"):
            await client.write_memory("p01.01", 0, b"x")

    server = run(body)
    # no packet goes across a page: QEMU would answer by an error alone
    for packet in (p for p in server.asked if p.startswith(b"m")):
        start, size = (int(word, 16) for word in packet[1:].split(b","))
        assert start // 4096 == (start + size - 1) // 4096


def test_a_forced_return() -> None:
    async def body(client: GdbClient, _: Server) -> None:
        assert await force_return(client, "p01.02", -5) == CALLER

    server = run(body)
    assert server.registers[2] == [2**64 - 5, MEMORY + 0x1000, CALLER, 0x10]
    assert server.registers[1][0] == 1


def test_forced_returns_take_the_breakpoint_away() -> None:
    async def body(client: GdbClient, _: Server) -> None:
        assert await force_returns(client, FUNCTION, 7, count=1, seconds=5) == 1

    server = run(body)
    assert b"Z0,%x,1" % FUNCTION in server.asked
    assert server.asked[-1] == b"z0,%x,1" % FUNCTION


def test_a_place_that_nobody_reaches() -> None:
    async def body(client: GdbClient, server: Server) -> None:
        server.stops_at_once = False
        assert await force_returns(client, FUNCTION, 7, seconds=0.05) == 0

    run(body)


def test_a_line_that_ends_is_an_error() -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        theirs.close()
        reader, writer = await asyncio.open_connection(sock=ours)
        with pytest.raises(GdbProtocolError):
            await GdbClient(reader, writer, ARCHITECTURES["x86_64"]).open()
        writer.close()

    asyncio.run(main())
