# SPDX-License-Identifier: BSD-2-Clause
"""A root image put into an arm64 kernel: found by the kernel's symbols, refused where it cannot."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ConfigurationError
from harness.systems.freebsd.embedded import with_root

BASE = 0xFFFF000000000000
HEADER = b"\0" * 56 + b"ARM\x64" + b"\0" * 4
TEXT = b"the kernel's code"
SECTION = struct.Struct("<IIQQQQIIQQ")
SYMBOL = struct.Struct("<IBBHQQ")


def kernel(
    room: int, before: int, *, named: str = "mfs_root", text: bytes = TEXT
) -> tuple[bytes, bytes]:
    """A flat image with a room for a root, and an ELF file that says where: image, ELF."""
    names = b"\0" + named.encode() + b"\0kernbase\0"
    at_room = BASE + len(HEADER) + len(text) + before
    symbols = b"".join(
        SYMBOL.pack(*fields)
        for fields in (
            (0, 0, 0, 0, 0, 0),
            (1, 0x11, 0, 1, at_room, room),
            (len(named) + 2, 0x10, 0, 0xFFF1, BASE, 0),
        )
    )
    section_names = b"\0.text\0.symtab\0.strtab\0.shstrtab\0"
    body = text + symbols + names + section_names
    at, ends = 64, [64 + len(text), 64 + len(text) + len(symbols)]
    sections = b"".join(
        SECTION.pack(*fields)
        for fields in (
            (0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
            (1, 1, 2, BASE + len(HEADER), at, len(text), 0, 0, 1, 0),
            (7, 2, 0, 0, ends[0], len(symbols), 3, 1, 8, SYMBOL.size),
            (15, 3, 0, 0, ends[1], len(names), 0, 0, 1, 0),
            (23, 3, 0, 0, ends[1] + len(names), len(section_names), 0, 0, 1, 0),
        )
    )
    head = b"\x7fELF\x02\x01\x01" + b"\0" * 9
    head += struct.pack(
        "<HHIQQQIHHHHHH", 2, 183, 1, BASE, 0, at + len(body), 0, 64, 56, 0, SECTION.size, 5, 4
    )
    return HEADER + text + b"k" * before + b"." * room + b"K" * 100, head + body + sections


@given(st.integers(0, 300), st.integers(0, 200), st.binary(min_size=1, max_size=300))
def test_the_root_is_where_the_symbol_says_and_nothing_else_changes(
    before: int, more: int, root: bytes
) -> None:
    image, elf = kernel(len(root) + more, before)
    made = with_root(image, elf, root, "kernel")
    assert made == HEADER + TEXT + b"k" * before + root + b"." * more + b"K" * 100


def test_a_root_that_is_too_large_says_how_large_the_room_must_be() -> None:
    image, elf = kernel(1024, 0)
    with pytest.raises(ConfigurationError, match=r"room for 1024: raise MD_ROOT_SIZE to 3 \(KiB\)"):
        with_root(image, elf, b"r" * 2049, "kernel")


def test_a_kernel_without_room_is_told_the_option() -> None:
    image, elf = kernel(1024, 0, named="other")
    with pytest.raises(ConfigurationError, match="options MD_ROOT_SIZE=8192"):
        with_root(image, elf, b"r", "kernel")


def test_a_kernel_without_linux_header_is_told_the_option() -> None:
    image, elf = kernel(1024, 0)
    with pytest.raises(ConfigurationError, match="options LINUX_BOOT_ABI"):
        with_root(b"\0" * 64 + image[64:], elf, b"r", "kernel")


def test_symbols_of_another_kernel_are_noticed() -> None:
    image, _ = kernel(1024, 0)
    _, elf = kernel(1024, 0, text=b"another kernel's code")
    with pytest.raises(ConfigurationError, match="not of one kernel"):
        with_root(image, elf, b"r", "kernel")


def test_what_is_no_elf_file_is_said() -> None:
    image, _ = kernel(10, 0)
    with pytest.raises(ConfigurationError, match="not a readable ELF file"):
        with_root(image, b"text", b"r", "kernel")
