# SPDX-License-Identifier: BSD-2-Clause
"""The remote protocol's packets: encoding, chunking, damage."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.qemu.gdb.packets import GdbProtocolError, PacketDecoder, encode_packet


def test_the_manual_s_examples() -> None:
    assert encode_packet(b"OK") == b"$OK#9a"
    # GDB manual, "Overview": "0* " stands for "0000"
    assert PacketDecoder().feed(b"+$0* #7a") == [b"0000"]


@given(st.lists(st.binary(max_size=60), max_size=5), st.data())
def test_round_trip_whatever_the_chunking(packets: list[bytes], data: st.DataObject) -> None:
    line = b"+".join(encode_packet(packet) for packet in packets)
    decoder, got = PacketDecoder(), []
    while line:
        size = data.draw(st.integers(1, len(line)))
        got += decoder.feed(line[:size])
        line = line[size:]
    assert got == packets


@given(st.binary(max_size=300))
def test_any_bytes_are_packets_or_an_error_of_the_protocol(line: bytes) -> None:
    try:
        for packet in PacketDecoder().feed(line):
            assert isinstance(packet, bytes)
    except GdbProtocolError:
        pass


@pytest.mark.parametrize("line", [b"$OK#9b", b"$}#7d", b"$*!#4b"])
def test_damage_is_an_error(line: bytes) -> None:
    with pytest.raises(GdbProtocolError):
        PacketDecoder().feed(line)
