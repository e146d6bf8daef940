# SPDX-License-Identifier: BSD-2-Clause
"""Register layouts out of target descriptions, and values out of `g` packets."""

import struct

import pytest

from harness.errors import ConfigurationError
from harness.qemu.gdb import ARCHITECTURES, GdbProtocolError, Registers, architecture
from harness.qemu.gdb.registers import included_files, parse_layout

TARGET = """<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd">
<target><architecture>powerpc:common64</architecture>
<xi:include href="core.xml"/><xi:include href='fpu.xml'/></target>"""


def description(*registers: str) -> str:
    return "<feature>" + "".join(f"<reg {register}/>" for register in registers) + "</feature>"


def test_includes() -> None:
    assert included_files(TARGET) == ["core.xml", "fpu.xml"]


def test_numbers_follow_one_another_and_may_leave_gaps() -> None:
    core = description(
        'name="r0" bitsize="64" type="uint64"',
        'name="r1" bitsize="64"',
        'name="pc" bitsize="64" regnum="64"',
        'name="cr" bitsize="32"',
        'name="lr" bitsize="64"',
    )
    again = description('name="lr" bitsize="64" regnum="171"')
    layout = parse_layout([TARGET, core, again])
    assert [(r.name, r.number, r.offset, r.size) for r in layout.values()] == [
        ("r0", 0, 0, 8), ("r1", 1, 8, 8), ("pc", 64, 16, 8), ("cr", 65, 24, 4), ("lr", 66, 28, 8),
    ]  # fmt: skip


def test_values_and_those_that_are_not_known() -> None:
    layout = parse_layout(
        [
            description(
                'name="rax" bitsize="64"', 'name="rip" bitsize="64"', 'name="cs" bitsize="32"'
            )
        ]
    )
    packet = b"x" * 16 + struct.pack("<QI", 0xFFFFFFFF81000010, 0x10).hex().encode()
    registers = Registers.from_packet(packet, layout, ARCHITECTURES["x86_64"])
    assert registers.values == {"rip": 0xFFFFFFFF81000010, "cs": 0x10}
    assert registers.pc == 0xFFFFFFFF81000010
    assert registers.in_kernel
    with pytest.raises(GdbProtocolError, match="no register rsp"):
        _ = registers.sp


def test_a_short_packet_leaves_registers_out() -> None:
    layout = parse_layout([description('name="eip" bitsize="32"', 'name="cs" bitsize="32"')])
    registers = Registers.from_packet(b"10000000", layout, ARCHITECTURES["i386"])
    assert registers.values == {"eip": 0x10}


@pytest.mark.parametrize(
    ("arch", "mode", "in_kernel"),
    [
        ("x86_64", 0x10, True), ("x86_64", 0x33, False), ("i386", 0x73, False),
        ("arm64", 0x600003C5, True), ("arm64", 0x60000000, False),
        ("ppc64le", 0x8000000000009033, True), ("ppc64le", 0x800000000280F033, False),
    ],
)  # fmt: skip
def test_the_mode(arch: str, mode: int, in_kernel: bool) -> None:
    known = ARCHITECTURES[arch]
    assert Registers({known.mode[0]: mode}, known).in_kernel is in_kernel


def test_a_32_bit_guest_of_a_64_bit_emulator() -> None:
    registers = Registers({"rsp": 0xFFFFFFFFC1000000}, ARCHITECTURES["i386"])
    assert registers.sp == 0xC1000000
    assert registers.name_of(ARCHITECTURES["i386"].sp) == "rsp"


def test_what_is_refused() -> None:
    for bad in (description('name="x"'), description('bitsize="8"'), "<target/>"):
        with pytest.raises(GdbProtocolError):
            parse_layout([bad])
    with pytest.raises(ConfigurationError, match="x86_64, i386, arm64, ppc64le"):
        architecture("mips")
