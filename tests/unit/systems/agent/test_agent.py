# SPDX-License-Identifier: BSD-2-Clause
"""The guest's agent, run as a process of the host and talked to over a socket."""

import platform
import shutil
import signal
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.console.frames import TERMINAL, Frame, FrameDecoder, FrameType, encode
from harness.kernels.toolchain import compile_static
from harness.systems import agent

SECONDS = 60.0
pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler (cc)")


class Line:
    """The host's end of the channel."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._decoder = FrameDecoder()
        self._frames: list[Frame] = []

    def send(self, *frames: Frame) -> None:
        """All of them in one write."""
        self._end.sendall(b"".join(map(encode, frames)))

    def receive(self) -> Frame:
        while not self._frames:
            data = self._end.recv(1 << 16)
            assert data, "the agent ended"
            self._frames += self._decoder.feed(data)
        return self._frames.pop(0)

    def output_and_status(self, request: int) -> tuple[bytes, int]:
        output = b""
        while (frame := self.receive()).type == FrameType.OUTPUT:
            assert frame.id == request
            output += frame.payload
        assert (frame.type, frame.id) == (FrameType.EXIT, request)
        return output, struct.unpack("<I", frame.payload)[0]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return agent_program(tmp_path_factory.mktemp("agent"))


def agent_program(cache: Path) -> Path:
    arch = {"x86_64": "x86_64", "aarch64": "arm64", "ppc64le": "ppc64le"}[platform.machine()]
    source = Path(__file__).with_name("on_host.c")
    return compile_static(source, cache, arch, parts=agent.AGENT, include=agent.INCLUDE)


@pytest.fixture
def line(program: Path) -> Iterator[Line]:
    ours, theirs = socket.socketpair()
    ours.settimeout(SECONDS)
    process = subprocess.Popen([program], stdin=theirs)
    theirs.close()
    try:
        line = Line(ours)
        assert line.receive() == Frame(FrameType.READY)
        yield line
    finally:
        process.kill()
        process.wait()
        ours.close()


def execute(request: int, command: str, flags: int = 0) -> Frame:
    return Frame(FrameType.EXEC, request, command.encode(), flags)


def test_commands_run_side_by_side(line: Line) -> None:
    line.send(execute(7, "echo out; echo err >&2; exit 5"))
    assert line.output_and_status(7) == (b"out\nerr\n", 5)
    line.send(execute(8, "read nothing; echo $?"))
    assert line.output_and_status(8) == (b"1\n", 0)
    line.send(*(execute(n, "sleep 600") for n in range(100, 117)))
    full = line.receive()
    assert (full.type, full.id) == (FrameType.ERROR, 116)
    assert full.payload == b"more than 16 commands at once"
    line.send(*(Frame(FrameType.KILL, n, bytes([signal.SIGKILL])) for n in range(100, 116)))
    ended = {(frame.type, frame.id) for frame in (line.receive() for _ in range(16))}
    assert ended == {(FrameType.EXIT, n) for n in range(100, 116)}


def test_a_command_is_killed_however_early(line: Line) -> None:
    for request in range(1, 60):
        line.send(
            execute(request, "sleep 600; true"),
            Frame(FrameType.KILL, request, bytes([signal.SIGTERM])),
        )
        assert line.output_and_status(request) == (b"", 128 + signal.SIGTERM)


def test_a_kill_reaches_what_the_command_started(line: Line) -> None:
    line.send(execute(3, "sleep 600 & echo started; exit 4"))
    assert line.receive() == Frame(FrameType.OUTPUT, 3, b"started\n")
    line.send(Frame(FrameType.KILL, 3, bytes([signal.SIGKILL])))
    frame = line.receive()
    assert (frame.type, frame.id) == (FrameType.EXIT, 3)


def test_a_terminal_has_a_size_and_takes_input(line: Line) -> None:
    line.send(execute(9, "read one; stty size; echo got $one; exit 3", TERMINAL))
    line.send(Frame(FrameType.WINSIZE, 9, struct.pack("<HH", 11, 22)))
    line.send(Frame(FrameType.DATA, 9, b"word\n"))
    answers = [line.receive()]
    output = b""
    while answers[-1].type != FrameType.EXIT:
        if answers[-1].type == FrameType.OUTPUT:
            output += answers.pop().payload
        answers.append(line.receive())
    assert [frame.type for frame in answers] == [FrameType.ACK, FrameType.EXIT]
    assert answers[-1].payload == struct.pack("<I", 3)
    assert b"11 22\r\ngot word\r\n" in output


def test_files_go_there_and_back(line: Line, tmp_path: Path) -> None:
    there = tmp_path / "there"
    parts = [bytes([n]) * 2048 for n in range(5)]
    line.send(Frame(FrameType.PUT, 2, struct.pack("<I", 0o750) + bytes(there)))
    assert line.receive() == Frame(FrameType.ACK, 2)
    for part in parts:
        line.send(Frame(FrameType.DATA, 2, part))
        assert line.receive() == Frame(FrameType.ACK, 2)
    line.send(Frame(FrameType.CLOSE, 2))
    assert line.receive() == Frame(FrameType.ACK, 2)
    assert there.read_bytes() == b"".join(parts)
    assert there.stat().st_mode & 0o700 == 0o700
    line.send(Frame(FrameType.GET, 4, bytes(there)))
    got = b""
    while (frame := line.receive()).type == FrameType.CONTENT:
        got += frame.payload
    assert frame == Frame(FrameType.CLOSE, 4)
    assert got == b"".join(parts)


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (Frame(FrameType.GET, 6, b"/no/such"), "/no/such: No such file or directory"),
        (Frame(FrameType.PUT, 6, bytes(4)), "a file without a name"),
        (Frame(FrameType.PUT, 6, bytes(4) + b"/no/such"), "/no/such: No such file or directory"),
        (Frame(FrameType.DATA, 6, b"x"), "data for no open file"),
        (Frame(55, 6), "unknown frame type 55"),
    ],
)
def test_what_cannot_be_done_is_said(line: Line, frame: Frame, text: str) -> None:
    line.send(frame)
    assert line.receive() == Frame(FrameType.ERROR, 6, text.encode())
    line.send(Frame(FrameType.PING, 1, b"still here"))
    assert line.receive() == Frame(FrameType.PONG, 1, b"still here")
