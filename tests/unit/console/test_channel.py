# SPDX-License-Identifier: BSD-2-Clause
"""The control channel against a guest's init that is played by the test."""

import asyncio
import io
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from harness.console.channel import UPLOAD_CHUNK, ControlChannel
from harness.console.frames import TERMINAL, Frame, FrameDecoder, FrameType, encode
from harness.console.guest_channel import ChannelLostError, CommandFailedError
from harness.errors import GuestError


class Guest:
    """The other end: answers by `answer`, remembers what it was sent."""

    def __init__(self, answer: Callable[[Frame], list[Frame] | None]) -> None:
        self.answer = answer
        self.got: list[Frame] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder = FrameDecoder()
        writer.write(encode(Frame(FrameType.READY)))
        while data := await reader.read(1000):
            for frame in decoder.feed(data):
                self.got.append(frame)
                answers = self.answer(frame)
                if answers is None:
                    writer.close()
                    return
                writer.write(b"".join(map(encode, answers)))


Scenario = Callable[[ControlChannel], Awaitable[None]]


def play(answer: Callable[[Frame], list[Frame] | None], scenario: Scenario) -> tuple[Guest, str]:
    guest, log = Guest(answer), io.StringIO()

    async def run() -> None:
        ours, theirs = socket.socketpair()
        serving = asyncio.create_task(guest.serve(*await asyncio.open_connection(sock=theirs)))
        channel = ControlChannel(*await asyncio.open_connection(sock=ours), log)
        try:
            async with asyncio.timeout(10):
                await channel.wait_ready()
                await scenario(channel)
        finally:
            await channel.close()
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

    asyncio.run(run())
    return guest, log.getvalue()


def status(frame: Frame, value: int) -> Frame:
    return Frame(FrameType.EXIT, frame.id, struct.pack("<I", value))


def shell(frame: Frame) -> list[Frame] | None:
    """A shell that echoes its command; `exit N` ends with N."""
    if frame.type != FrameType.EXEC:
        return []
    words = frame.payload.decode().split()
    if words[0] == "exit":
        return [
            Frame(FrameType.OUTPUT, frame.id, b"bye\xff\x1b[2J\n"),
            status(frame, int(words[1])),
        ]
    return [
        Frame(FrameType.OUTPUT, frame.id, frame.payload[:3]),
        Frame(FrameType.OUTPUT, frame.id, frame.payload[3:]),
        status(frame, 0),
    ]


def test_commands_have_output_and_status() -> None:
    async def scenario(channel: ControlChannel) -> None:
        result = await channel.run("uname -r")
        assert (result.status, result.output) == (0, b"uname -r")
        assert (await channel.run("exit 139")).status == 139
        assert await channel.check("true") == b"true"
        with pytest.raises(CommandFailedError, match="`exit 3` ended with status 3: bye"):
            await channel.check("exit 3")

    guest, log = play(shell, scenario)
    assert [frame.id for frame in guest.got] == [1, 2, 3, 4]
    assert " > EXEC 1 'uname -r'" in log
    assert "\x1b" not in log, "the log is for people"


def test_commands_at_once_do_not_mix() -> None:
    async def scenario(channel: ControlChannel) -> None:
        results = await asyncio.gather(*(channel.run(f"echo {n}") for n in range(20)))
        assert [result.output for result in results] == [f"echo {n}".encode() for n in range(20)]

    play(shell, scenario)


def test_a_cut_line_is_lost_for_every_request() -> None:
    async def scenario(channel: ControlChannel) -> None:
        with pytest.raises(ChannelLostError, match="closed"):
            await channel.run("true")
        for request in (channel.ping(), channel.run("x"), channel.get("/x"), channel.power_off()):
            with pytest.raises(ChannelLostError):
                await request

    play(lambda _: None, scenario)


def test_noise_on_the_line_is_an_error_not_an_answer() -> None:
    async def scenario(channel: ControlChannel) -> None:
        running = await channel.start("cat")
        channel._reader.feed_data(b"[    1.0] a kernel's message\n")
        with pytest.raises(ChannelLostError, match="broke: expected a frame"):
            _ = [data async for data in running.output()]

    play(lambda _: [], scenario)


@pytest.mark.parametrize("payload", [b"", b"\0", b"12345"])
def test_an_exit_status_of_a_wrong_size_is_an_error_of_the_guest(payload: bytes) -> None:
    async def scenario(channel: ControlChannel) -> None:
        with pytest.raises(GuestError, match="exit status"):
            await channel.run("true")

    play(lambda frame: [Frame(FrameType.EXIT, frame.id, payload)], scenario)


def test_errors_of_the_guest_are_raised() -> None:
    async def scenario(channel: ControlChannel) -> None:
        with pytest.raises(GuestError, match="guest: /x: No such file"):
            await channel.get("/x")

    play(lambda frame: [Frame(FrameType.ERROR, frame.id, b"/x: No such file")], scenario)


def test_files_go_in_by_chunks_that_are_acknowledged(tmp_path: Path) -> None:
    content = bytes(range(256)) * 11
    (tmp_path / "file").write_bytes(content)

    async def scenario(channel: ControlChannel) -> None:
        await channel.put(tmp_path / "file", "/there", 0o640)

    guest, _ = play(lambda frame: [Frame(FrameType.ACK, frame.id)], scenario)
    assert guest.got[0].payload == struct.pack("<I", 0o640) + b"/there"
    assert b"".join(frame.payload for frame in guest.got[1:-1]) == content
    assert all(len(frame.payload) <= UPLOAD_CHUNK for frame in guest.got[1:-1])
    assert guest.got[-1].type == FrameType.CLOSE


def test_files_come_out() -> None:
    def serve(frame: Frame) -> list[Frame]:
        return [
            Frame(FrameType.CONTENT, frame.id, b"one "),
            Frame(FrameType.CONTENT, frame.id, b"two"),
            Frame(FrameType.CLOSE, frame.id),
        ]

    async def scenario(channel: ControlChannel) -> None:
        assert await channel.get("/x") == b"one two"

    play(serve, scenario)


def test_what_is_typed_waits_until_the_last_was_taken() -> None:
    taken: list[bytes] = []

    def terminal(frame: Frame) -> list[Frame]:
        if frame.type == FrameType.DATA:
            taken.append(frame.payload)
            if frame.payload == b"3":
                return [Frame(FrameType.ACK, frame.id), status(frame, 0)]
            return [] if frame.payload == b"2" else [Frame(FrameType.ACK, frame.id)]
        return []

    async def scenario(channel: ControlChannel) -> None:
        running = await channel.start("sh", terminal=True)
        reading = asyncio.ensure_future(anext(running.output(), None))
        await running.write(b"1")
        await running.write(b"2")
        third = asyncio.create_task(running.write(b"3"))
        await asyncio.sleep(0.05)
        assert taken == [b"1", b"2"]
        request = channel._answers[1]
        request.put_nowait(Frame(FrameType.ACK, 1))
        await third
        await reading
        assert running.status == 0

    guest, _ = play(terminal, scenario)
    assert guest.got[0].flags == TERMINAL
    assert taken == [b"1", b"2", b"3"]
