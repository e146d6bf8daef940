# SPDX-License-Identifier: BSD-2-Clause
"""Tests of the kernel taken out of a bootable image."""

import bz2
import gzip
import lzma
import random
import struct
from collections.abc import Callable

import lz4.block
import pytest
import zstandard

from harness.errors import ConfigurationError
from harness.kernels.vmlinuz import extract_vmlinux, is_arm64_image

VMLINUX = b"\x7fELF" + random.Random(1).randbytes(5000) + bytes(9 << 20)
"""More than one block of LZ4's legacy format."""

ARM64_IMAGE = bytes(0x38) + b"ARM\x64" + b"\x01" * 1000


def appended_size(compressed: bytes) -> bytes:
    return compressed + struct.pack("<I", len(VMLINUX))


def lz4_legacy(data: bytes) -> bytes:
    out = b"\x02\x21\x4c\x18"
    for start in range(0, len(data), 8 << 20):
        block = lz4.block.compress(data[start : start + (8 << 20)], store_size=False)
        out += struct.pack("<I", len(block)) + block
    return out


def xz_with_x86_filter(data: bytes) -> bytes:
    filters = [{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "preset": 1}]
    return lzma.compress(data, lzma.FORMAT_XZ, check=lzma.CHECK_CRC32, filters=filters)


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 1),
    "xz": lambda data: appended_size(xz_with_x86_filter(data)),
    "lzma": lambda data: appended_size(lzma.compress(data, lzma.FORMAT_ALONE, preset=1)),
    "bzip2": lambda data: appended_size(bz2.compress(data, 1)),
    "lz4": lambda data: appended_size(lz4_legacy(data)),
    "zstd": lambda data: appended_size(zstandard.compress(data, 1)),
    "none": lambda data: data,
}
every_compressor = pytest.mark.parametrize("name", COMPRESSORS)


def bzimage(payload: bytes, version: int = 0x20F, setup_sectors: int = 27) -> bytes:
    """A bzImage with the fields of the boot protocol that say where the payload is."""
    before = b"decompressor code" * 7
    header = bytearray(((setup_sectors or 4) + 1) * 512)
    header[0x1F1] = setup_sectors
    header[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", header, 0x206, version)
    struct.pack_into("<II", header, 0x248, len(before), len(payload))
    return bytes(header) + before + payload + b"the end of the file"


@every_compressor
@pytest.mark.parametrize("setup_sectors", [0, 27])
def test_payload_of_a_bzimage_comes_out(name: str, setup_sectors: int) -> None:
    image = bzimage(COMPRESSORS[name](VMLINUX), setup_sectors=setup_sectors)
    assert extract_vmlinux(image) == VMLINUX


@pytest.mark.parametrize("data", [VMLINUX, ARM64_IMAGE])
def test_uncompressed_kernel_comes_back_as_it_is(data: bytes) -> None:
    assert extract_vmlinux(data) is data


@pytest.mark.parametrize("name", ["gzip", "xz", "lz4", "zstd"])
def test_kernel_compressed_as_a_whole_comes_out(name: str) -> None:
    assert extract_vmlinux(COMPRESSORS[name](VMLINUX)) == VMLINUX


def test_arm64_image_is_recognised_compressed_too() -> None:
    assert extract_vmlinux(gzip.compress(ARM64_IMAGE)) == ARM64_IMAGE
    assert is_arm64_image(ARM64_IMAGE)
    assert not is_arm64_image(VMLINUX)


def test_efi_zboot_payload_comes_out() -> None:
    payload = gzip.compress(ARM64_IMAGE)
    header = b"MZ\0\0zimg" + struct.pack("<II", 64, len(payload))
    assert extract_vmlinux(header.ljust(64, b"\0") + payload) == ARM64_IMAGE


@every_compressor
def test_truncated_file_is_refused(name: str) -> None:
    image = bzimage(COMPRESSORS[name](VMLINUX))
    with pytest.raises(ConfigurationError, match="is it cut short"):
        extract_vmlinux(image[: len(image) - 1000])


@pytest.mark.parametrize("name", ["gzip", "xz", "bzip2", "lz4", "zstd"])
def test_damaged_payload_is_refused(name: str) -> None:
    payload = COMPRESSORS[name](VMLINUX)
    with pytest.raises(ConfigurationError, match="damaged"):
        extract_vmlinux(bzimage(payload[: len(payload) // 2]))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "found 0 bytes"),
        (b"#!/bin/sh\n" * 100, "expected an ELF vmlinux, an x86 bzImage"),
        (bzimage(b"", version=0x207), "boot protocol 2.07"),
        (bzimage(b""), "0 bytes of payload"),
        (bzimage(b"\x89LZO\0\r\n\x1a\n" + bytes(100)), "LZO is not read"),
        (bzimage(gzip.compress(b"no kernel")), "unpacks to 9 bytes"),
    ],
)
def test_other_files_are_refused_with_what_was_found(data: bytes, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        extract_vmlinux(data)
