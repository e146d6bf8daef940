# SPDX-License-Identifier: BSD-2-Clause
"""The guest's frames, in C, against the host's."""

import ctypes
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.console.frames import MAX_PAYLOAD, Frame, encode
from harness.systems import agent

MAX_FRAME = 8 + MAX_PAYLOAD + 4
NONE, WHOLE, DAMAGED = range(3)

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler (cc)")


class CFrame(ctypes.Structure):
    """`struct frame`."""

    _fields_ = (
        ("type", ctypes.c_uint8),
        ("flags", ctypes.c_uint8),
        ("id", ctypes.c_uint16),
        ("length", ctypes.c_uint16),
        ("payload", ctypes.c_uint8 * (MAX_PAYLOAD + 1)),
    )


class CBuffer(ctypes.Structure):
    """`struct frame_buffer`."""

    _fields_ = (("have", ctypes.c_size_t), ("bytes", ctypes.c_uint8 * (4 * MAX_FRAME)))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    file = tmp_path_factory.mktemp("frames") / "frames.so"
    argv = ["cc", "-std=c11", "-pedantic-errors", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([*argv, "-o", str(file), *map(str, agent.FRAMES)], check=True)
    library = ctypes.CDLL(str(file))
    library.frame_encode.restype = ctypes.c_size_t
    library.frame_encode.argtypes = (
        ctypes.c_void_p, ctypes.c_int, ctypes.c_uint16, ctypes.c_void_p, ctypes.c_size_t,
    )  # fmt: skip
    return library


def decoded(library: ctypes.CDLL, chunks: list[bytes]) -> tuple[list[Frame], int]:
    """The frames found in what comes in chunks, and how many were damaged."""
    buffer, frame = CBuffer(), CFrame()
    frames, damaged = [], 0
    for chunk in chunks:
        data = chunk
        while data:
            room = len(buffer.bytes) - buffer.have
            assert room > 0
            part, data = data[:room], data[room:]
            ctypes.memmove(ctypes.addressof(buffer.bytes) + buffer.have, part, len(part))
            buffer.have += len(part)
            while (
                found := library.frame_decode(ctypes.byref(buffer), ctypes.byref(frame))
            ) != NONE:
                damaged += found == DAMAGED
                if found == WHOLE:
                    payload = bytes(frame.payload[: frame.length])
                    assert frame.payload[frame.length] == 0
                    frames.append(Frame(frame.type, frame.id, payload, frame.flags))
    return frames, damaged


frames = st.builds(
    Frame,
    type=st.integers(0, 255),
    id=st.integers(0, 0xFFFF),
    payload=st.binary(max_size=40) | st.sampled_from([bytes(MAX_PAYLOAD), b"\xa5\x5a" * 1024]),
    flags=st.integers(0, 255),
)


@given(frame=frames)
def test_the_guest_makes_what_the_host_makes(library: ctypes.CDLL, frame: Frame) -> None:
    into = ctypes.create_string_buffer(MAX_FRAME)
    n = library.frame_encode(into, frame.type, frame.id, frame.payload, len(frame.payload))
    assert into.raw[:n] == encode(Frame(frame.type, frame.id, frame.payload))


@given(sent=st.lists(frames, max_size=8), cut=st.integers(1, 5000))
def test_frames_arrive_in_any_chunks(library: ctypes.CDLL, sent: list[Frame], cut: int) -> None:
    data = b"".join(map(encode, sent))
    chunks = [data[n : n + cut] for n in range(0, len(data), cut)]
    assert decoded(library, chunks) == (sent, 0)


@given(
    before=frames,
    # no other frame's beginning in it, which would have to be waited for
    spoilt=frames.filter(lambda frame: b"\xa5\x5a" not in encode(frame)[2:]),
    after=frames,
    where=st.integers(0, 7),
)
def test_a_damaged_frame_is_told_and_the_next_is_found(
    library: ctypes.CDLL, before: Frame, spoilt: Frame, after: Frame, where: int
) -> None:
    data = bytearray(encode(spoilt))
    data[-1 - where % 4] ^= 1 << where
    got, damaged = decoded(library, [encode(before) + data + encode(after)])
    assert got == [before, after]
    assert damaged >= 1


@given(junk=st.binary(max_size=200).filter(lambda data: b"\xa5" not in data), frame=frames)
def test_what_is_no_frame_is_skipped(library: ctypes.CDLL, junk: bytes, frame: Frame) -> None:
    assert decoded(library, [junk, encode(frame)]) == ([frame], 0)
