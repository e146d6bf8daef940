# SPDX-License-Identifier: BSD-2-Clause
"""Disks with a GUID partition table, made byte by byte."""

import struct
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from harness.systems.freebsd.gpt import FREEBSD_BOOT, FREEBSD_UFS, SECTOR

UFS2_MAGIC_AT = 65536 + 1372


@dataclass(frozen=True)
class Part:
    """A partition to be: `begins` are bytes by their place in it."""

    kind: uuid.UUID
    label: str = ""
    sectors: int = 512
    begins: tuple[tuple[int, bytes], ...] = ()


def ufs(label: str = "rootfs") -> Part:
    return Part(FREEBSD_UFS, label, 512, ((UFS2_MAGIC_AT, bytes.fromhex("19015419")),))


BOOT = Part(FREEBSD_BOOT, "bootfs", 8)


def table(parts: Sequence[Part], empty_before: int = 0) -> tuple[bytes, list[int]]:
    """The disk's first 34 sectors and where each partition begins, in sectors."""
    entries = bytearray(128 * 128)
    at, starts = 40, []
    for number, part in enumerate(parts, start=empty_before):
        starts.append(at)
        name = part.label.encode("utf-16-le").ljust(72, b"\0")
        entry = struct.pack(
            "<16s16sQQQ72s", part.kind.bytes_le, uuid.uuid4().bytes, at, at + part.sectors - 1, 0,
            name,
        )  # fmt: skip
        entries[number * 128 : number * 128 + 128] = entry
        at += part.sectors
    fields = (0x10000, 92, 0, 0, 1, at + 33, 34, at, uuid.uuid4().bytes, 2, 128, 128)
    header = struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", *fields, zlib.crc32(bytes(entries)))
    checksum = struct.pack("<I", zlib.crc32(header))
    header = header[:16] + checksum + header[20:]
    mbr = bytes(510) + b"\x55\xaa"
    return mbr + header.ljust(SECTOR, b"\0") + bytes(entries), starts


def disk(*parts: Part, empty_before: int = 0) -> bytes:
    """A whole disk, with room behind the last partition."""
    head, starts = table(parts, empty_before)
    end = starts[-1] + parts[-1].sectors if parts else 40
    content = bytearray(head.ljust((end + 40) * SECTOR, b"\0"))
    for start, part in zip(starts, parts, strict=True):
        for place, data in part.begins:
            content[start * SECTOR + place : start * SECTOR + place + len(data)] = data
    return bytes(content)
