# SPDX-License-Identifier: BSD-2-Clause
"""GUID partition tables: what is written is read, and nothing else is believed."""

import subprocess
from pathlib import Path

import pytest
from fake_disk import BOOT, Part, disk, table, ufs
from hypothesis import given
from hypothesis import strategies as st

from harness.disk_tools import find_tool
from harness.errors import ConfigurationError
from harness.systems.freebsd.gpt import (
    EFI_SYSTEM,
    FREEBSD_BOOT,
    FREEBSD_UFS,
    SECTOR,
    TABLE_BYTES,
    read_gpt,
)

_LABELS = st.text(st.characters(min_codepoint=33, max_codepoint=0x7FF), max_size=36)
_PARTS = st.lists(
    st.builds(Part, st.sampled_from([EFI_SYSTEM, FREEBSD_UFS]), _LABELS, st.integers(1, 1 << 40)),
    max_size=20,
)


@given(_PARTS, st.integers(0, 100))
def test_a_table_is_read_back(parts: list[Part], empty_before: int) -> None:
    head, starts = table(parts, empty_before)
    found = read_gpt(head, "it")
    assert [(p.kind, p.label, p.size) for p in found] == [
        (part.kind, part.label, part.sectors * SECTOR) for part in parts
    ]
    assert [p.offset for p in found] == [start * SECTOR for start in starts]
    assert [p.number for p in found] == [empty_before + 1 + n for n in range(len(parts))]


@given(st.integers(0, TABLE_BYTES - SECTOR - 1), st.integers(1, 255))
def test_a_changed_byte_is_noticed(place: int, by: int) -> None:
    head = bytearray(table([BOOT, ufs()])[0])
    at = SECTOR + place
    in_header, in_entries = place < 92, place >= SECTOR
    head[at] ^= by
    if in_header or in_entries:
        with pytest.raises(ConfigurationError, match="it: "):
            read_gpt(bytes(head), "it")
    else:
        assert len(read_gpt(bytes(head), "it")) == 2


@given(st.binary(max_size=TABLE_BYTES))
def test_anything_else_is_no_table(head: bytes) -> None:
    with pytest.raises(ConfigurationError, match="it: expected a disk with a GUID partition table"):
        read_gpt(head, "it")


def test_a_disk_with_an_mbr_only() -> None:
    with pytest.raises(ConfigurationError, match="found none, only an MBR's"):
        read_gpt(bytes(510) + b"\x55\xaa" + bytes(SECTOR), "it")


@given(st.integers(SECTOR + 92, TABLE_BYTES - 1))
def test_a_table_that_is_cut_off(length: int) -> None:
    with pytest.raises(ConfigurationError, match="damaged"):
        read_gpt(disk(BOOT, ufs())[:length], "it")


def test_a_table_of_another_program(tmp_path: Path) -> None:
    sfdisk = find_tool("sfdisk")
    if sfdisk is None:
        pytest.skip("sfdisk is not installed")
    image = tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(8 << 20)
    script = (
        "label: gpt\nfirst-lba: 34\n"
        f"start=40, size=8, type={FREEBSD_BOOT}, name=bootfs\n"
        f"start=2048, size=4096, type={FREEBSD_UFS}, name=rootfs\n"
    )
    subprocess.run([sfdisk, "-q", str(image)], input=script, text=True, check=True)
    with image.open("rb") as file:
        found = read_gpt(file.read(TABLE_BYTES), "it")
    assert [(p.number, p.kind, p.label, p.offset, p.size) for p in found] == [
        (1, FREEBSD_BOOT, "bootfs", 40 * SECTOR, 8 * SECTOR),
        (2, FREEBSD_UFS, "rootfs", 2048 * SECTOR, 4096 * SECTOR),
    ]
