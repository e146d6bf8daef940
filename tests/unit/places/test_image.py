# SPDX-License-Identifier: BSD-2-Clause
"""Tests of image bytes by virtual address."""

import gzip

import pytest

from harness.errors import ConfigurationError
from harness.places.image import KernelImage, Segment
from harness.places.symbols import SymbolTable

TEXT = 0xFFFFFFC008000000
ARM64_IMAGE = bytes(0x38) + b"ARM\x64" + bytes(range(200))
SYMBOLS = SymbolTable.from_kallsyms(b"ffffffc008000000 T _text\nffffffc008000100 T _etext\n")


def test_bytes_are_read_by_virtual_address() -> None:
    image = KernelImage((Segment(0x1000, b"abcd"), Segment(0x2000, b"efgh")), "x86_64", "image")
    assert image.read(0x1001, 2) == b"bc"
    assert image.read(0x2000, 4) == b"efgh"


@pytest.mark.parametrize(("address", "size"), [(0xFFF, 1), (0x1003, 2), (0x1004, 1), (0, 9)])
def test_bytes_that_are_not_there_are_refused(address: int, size: int) -> None:
    image = KernelImage((Segment(0x1000, b"abcd"),), "x86_64", "vmlinuz-6.1")
    with pytest.raises(ConfigurationError, match=r"vmlinuz-6\.1: no .* bytes at .*nokaslr"):
        image.read(address, size)


@pytest.mark.parametrize("data", [ARM64_IMAGE, gzip.compress(ARM64_IMAGE)])
def test_raw_arm64_image_begins_at_text(data: bytes) -> None:
    image = KernelImage.from_file_bytes(data, SYMBOLS, "Image")
    assert image.arch == "arm64"
    assert image.read(TEXT + 0x3C, 4) == bytes(range(4))


@pytest.mark.parametrize("entry", [b"primary_entry", b"stext"])
def test_raw_arm64_image_without_text_is_placed_by_its_first_branch(entry: bytes) -> None:
    branch_at_4_to_0x1000 = bytes.fromhex("4d5a0091 ff030014")
    image = branch_at_4_to_0x1000 + ARM64_IMAGE[8:]
    symbols = SymbolTable.from_kallsyms(b"ffffffc008001000 T " + entry + b"\n")
    assert KernelImage.from_arm64_image(image, symbols).read(TEXT, 2) == b"MZ"


def test_raw_arm64_image_needs_symbols_to_place_it() -> None:
    without = SymbolTable.from_kallsyms(b"ffffffc008000000 T start\n")
    with pytest.raises(ConfigurationError, match="kallsyms has neither _text nor"):
        KernelImage.from_arm64_image(ARM64_IMAGE, without)
    with pytest.raises(ConfigurationError, match="expected a raw arm64 Image"):
        KernelImage.from_arm64_image(b"MZ", SYMBOLS)


def test_bytes_that_are_no_elf_file_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="vmlinux: not a readable ELF file"):
        KernelImage.from_elf(b"\x7fELF", "vmlinux")
