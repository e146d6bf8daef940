# SPDX-License-Identifier: BSD-2-Clause
"""A note added to an ELF core laid out as QEMU's `dump-guest-memory` lays it out."""

import io
import struct

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given
from hypothesis import strategies as st

from harness.qemu.dump import DumpError, add_note

MEMORY = bytes(range(256)) * 200
ROM = b"rom!" * 64


def note(name: bytes, content: bytes, kind: int = 0) -> bytes:
    def padded(data: bytes) -> bytes:
        return data + bytes(-len(data) % 4)

    return struct.pack("<III", len(name), len(content), kind) + padded(name) + padded(content)


CORE_NOTES = note(b"CORE\0", bytes(336), 1) + note(b"QEMU\0", bytes(440))


def core(notes: bytes = CORE_NOTES) -> bytes:
    table = 64
    start = table + 3 * 56
    memory = start + len(notes)
    header = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9)
    data = struct.pack("<16sHHIQQQIHHHHHH", header, 4, 62, 1, 0, table, 0, 0, 64, 56, 3, 0, 0, 0)
    for segment in (
        (4, 0, start, 0, 0, len(notes), len(notes), 0),
        (1, 0, memory, 0, 0, len(MEMORY), len(MEMORY), 0),
        (1, 0, memory + len(MEMORY), 0, 0xFFFC0000, len(ROM), len(ROM), 0),
    ):
        data += struct.pack("<IIQQQQQQ", *segment)
    return data + notes + MEMORY + ROM


def physical_memory(elf: ELFFile) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    loads = (s for s in elf.iter_segments("PT_LOAD"))
    for segment in sorted(loads, key=lambda s: int(s["p_paddr"])):
        address = int(segment["p_paddr"])
        before = next((a for a, data in found.items() if a + len(data) == address), None)
        if before is None:
            found[address] = segment.data()
        else:
            found[before] += segment.data()
    return found


@given(st.binary(min_size=1, max_size=9000))
def test_the_note_is_there_and_the_memory_is_as_it_was(content: bytes) -> None:
    file = io.BytesIO(core())
    add_note(file, note(b"VMCOREINFO\0", content))
    elf = ELFFile(file)
    (notes,) = elf.iter_segments("PT_NOTE")
    assert [n["n_name"] for n in notes.iter_notes()] == ["CORE", "QEMU", "VMCOREINFO"]
    assert notes.data()[: len(CORE_NOTES)] == CORE_NOTES
    assert notes.data()[len(CORE_NOTES) :] == note(b"VMCOREINFO\0", content)
    assert physical_memory(elf) == {0: MEMORY, 0xFFFC0000: ROM}
    # crash takes what stands before the second program header's bytes for the headers
    assert notes["p_offset"] + notes["p_filesz"] <= elf.get_segment(1)["p_offset"]


def test_a_core_that_has_it_stays_as_it_is() -> None:
    file = io.BytesIO(core(CORE_NOTES + note(b"VMCOREINFO\0", b"A=1\n")))
    before = file.getvalue()
    add_note(file, note(b"VMCOREINFO\0", b"B=1\n"))
    assert file.getvalue() == before


@pytest.mark.parametrize("data", [b"", b"\x7fELF\1\1" + bytes(60), b"KDUMP   " + bytes(80)])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(DumpError, match="64-bit little-endian ELF"):
        add_note(io.BytesIO(data), note(b"VMCOREINFO\0", b"x"))
