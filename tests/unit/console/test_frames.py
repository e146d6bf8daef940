# SPDX-License-Identifier: BSD-2-Clause
"""Frames: any chunking gives the same frames; damage is an error and never a wrong frame."""

import itertools
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.console.frames import (
    MAX_PAYLOAD,
    ChannelCorruptedError,
    Frame,
    FrameDecoder,
    FrameType,
    encode,
)
from harness.errors import GuestError

frames = st.builds(
    Frame,
    type=st.integers(0, 255),
    id=st.integers(0, 0xFFFF),
    payload=st.binary(max_size=200) | st.binary(min_size=MAX_PAYLOAD, max_size=MAX_PAYLOAD),
    flags=st.integers(0, 255),
)


def chunks(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def decode(pieces: list[bytes]) -> list[Frame]:
    decoder = FrameDecoder()
    return [frame for piece in pieces for frame in decoder.feed(piece)]


@given(st.lists(frames, max_size=5), st.lists(st.integers(min_value=0), max_size=20))
def test_any_chunking_gives_the_frames_that_were_sent(sent: list[Frame], cuts: list[int]) -> None:
    assert decode(chunks(b"".join(map(encode, sent)), cuts)) == sent


@given(frames)
def test_byte_by_byte(sent: Frame) -> None:
    data = encode(sent)
    assert decode([data[n : n + 1] for n in range(len(data))]) == [sent]


@given(
    st.lists(frames, min_size=1, max_size=3),
    st.integers(min_value=0),
    st.integers(1, 255),
    st.lists(st.integers(min_value=0), max_size=6),
)
def test_a_changed_byte_is_never_a_wrong_frame(
    sent: list[Frame], at: int, change: int, cuts: list[int]
) -> None:
    data = bytearray(b"".join(map(encode, sent)))
    data[at % len(data)] ^= change
    decoder, got, noticed = FrameDecoder(), [], False
    try:
        for piece in chunks(bytes(data), cuts):
            got += decoder.feed(piece)
        # a longer length makes the decoder wait for more; whatever comes cannot have the checksum
        got += decoder.feed(bytes(2 * MAX_PAYLOAD))
    except ChannelCorruptedError:
        noticed = True
    assert noticed
    assert got == sent[: len(got)]


@given(st.binary(min_size=1))
def test_any_bytes_either_wait_or_are_an_error(data: bytes) -> None:
    try:
        got = FrameDecoder().feed(data)
    except ChannelCorruptedError:
        return
    assert b"".join(map(encode, got)) == data[: sum(len(encode(frame)) for frame in got)]


def test_noise_before_a_frame_is_an_error_of_the_guest() -> None:
    with pytest.raises(ChannelCorruptedError, match="expected a frame, found b'kernel"):
        FrameDecoder().feed(b"kernel says hello" + encode(Frame(FrameType.PONG)))
    assert issubclass(ChannelCorruptedError, GuestError)


def test_a_length_beyond_the_limit_is_refused_before_it_is_waited_for() -> None:
    header = b"\xa5\x5a" + struct.pack("<BBHH", FrameType.OUTPUT, 0, 1, MAX_PAYLOAD + 1)
    with pytest.raises(ChannelCorruptedError, match="announced 2049 bytes"):
        FrameDecoder().feed(header)


def test_the_format_is_the_documented_one() -> None:
    body = struct.pack("<BBHH", FrameType.EXEC, 1, 0x1234, 2) + b"ls"
    expected = b"\xa5\x5a" + body + struct.pack("<I", zlib.crc32(body))
    assert encode(Frame(FrameType.EXEC, 0x1234, b"ls", 1)) == expected


def test_a_payload_that_is_too_long_is_not_sent() -> None:
    with pytest.raises(ValueError, match="at most 2048 bytes, not 2049"):
        encode(Frame(FrameType.DATA, 1, bytes(MAX_PAYLOAD + 1)))


def test_names_for_the_log() -> None:
    assert Frame(FrameType.READY).name == "READY"
    assert Frame(200).name == "200"
