# SPDX-License-Identifier: BSD-2-Clause
"""A disk's GUID partition table, read from its first sectors (UEFI 2.10, section 5.3)."""

import struct
import uuid
import zlib
from dataclasses import dataclass

from harness.errors import ConfigurationError

SECTOR = 512
TABLE_BYTES = 34 * SECTOR
"""Protective MBR, header, and an array of 128 entries: what everybody's tables begin with."""
FREEBSD_UFS = uuid.UUID("516e7cb6-6ecf-11d6-8ff8-00022d09712b")
FREEBSD_ZFS = uuid.UUID("516e7cba-6ecf-11d6-8ff8-00022d09712b")
FREEBSD_BOOT = uuid.UUID("83bd6b9d-7f41-11dc-be0b-001560b84f0f")
EFI_SYSTEM = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
"""Types of partitions (sys/sys/disk/gpt.h)."""
_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_ENTRY = struct.Struct("<16s16sQQQ72s")
_SIGNATURE = b"EFI PART"


@dataclass(frozen=True)
class Partition:
    """One entry: `number` counts from 1, as in vtbd0p1; `offset` and `size` are in bytes."""

    number: int
    kind: uuid.UUID
    label: str
    offset: int
    size: int


def read_gpt(head: bytes, where: str) -> list[Partition]:
    """The partitions of a disk that begins with `head` (TABLE_BYTES or more).

    Raises ConfigurationError, which begins with `where`, for a disk without a whole table.
    """
    header = head[SECTOR : SECTOR + _HEADER.size]
    if len(header) < _HEADER.size or not header.startswith(_SIGNATURE):
        mbr = ", only an MBR's" if head[SECTOR - 2 : SECTOR] == b"\x55\xaa" else ""
        raise ConfigurationError(
            f"{where}: expected a disk with a GUID partition table, as FreeBSD's VM images have, "
            f"and found none{mbr}"
        )
    (_, _, header_bytes, checksum, _, _, _, _, _, _, at, count, size, entries_checksum) = (
        _HEADER.unpack(header)
    )
    whole = head[SECTOR : SECTOR + header_bytes]
    blanked = whole[:16] + bytes(4) + whole[20:]
    entries = head[at * SECTOR : at * SECTOR + count * size]
    if (
        header_bytes < _HEADER.size
        or size < _ENTRY.size
        or len(entries) < count * size
        or zlib.crc32(blanked) != checksum
        or zlib.crc32(entries) != entries_checksum
    ):
        raise ConfigurationError(f"{where}: its GUID partition table is damaged")
    return [
        partition
        for number in range(count)
        if (partition := _partition(number + 1, entries[number * size :])) is not None
    ]


def _partition(number: int, entry: bytes) -> Partition | None:
    kind, _, first, last, _, name = _ENTRY.unpack_from(entry)
    if not any(kind):
        return None
    label = name.decode("utf-16-le", errors="replace").partition("\0")[0]
    size = (last - first + 1) * SECTOR
    return Partition(number, uuid.UUID(bytes_le=kind), label, first * SECTOR, size)
