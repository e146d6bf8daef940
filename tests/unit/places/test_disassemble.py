# SPDX-License-Identifier: BSD-2-Clause
"""Tests of instructions and their flow, on encodings from the architectures' manuals."""

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ConfigurationError
from harness.places.disassemble import ARCHES, Flow, disassemble, ppc64le_local_entry

from .assembler import TOC_SETUP

AT = 0x10000000


@pytest.mark.parametrize(
    ("arch", "code", "flow", "target", "conditional"),
    [
        ("x86_64", "e8 fb0f0000", Flow.CALL, 0x1000, False),
        ("x86_64", "ff d0", Flow.CALL, None, False),  # call rax
        ("x86_64", "ff 15 00000000", Flow.CALL, None, False),  # call [rip]
        ("x86_64", "e9 fbffffff", Flow.JUMP, 0, False),
        ("x86_64", "eb 10", Flow.JUMP, 0x12, False),
        ("x86_64", "74 10", Flow.JUMP, 0x12, True),
        ("x86_64", "0f84 fa0f0000", Flow.JUMP, 0x1000, True),
        ("x86_64", "ff e0", Flow.JUMP, None, False),
        ("x86_64", "c3", Flow.RETURN, None, False),
        ("x86_64", "f3 c3", Flow.RETURN, None, False),
        ("x86_64", "c2 0800", Flow.RETURN, None, False),
        ("x86_64", "90", Flow.NEXT, None, False),
        ("x86_64", "f3 0f1efa", Flow.NEXT, None, False),  # endbr64
        ("x86_64", "0f0b", Flow.NEXT, None, False),  # ud2: a WARN goes on behind it
        ("i386", "e8 fb0f0000", Flow.CALL, 0x1000, False),
        ("i386", "c3", Flow.RETURN, None, False),
        ("arm64", "00040094", Flow.CALL, 0x1000, False),  # bl
        ("arm64", "ffffff97", Flow.CALL, -4, False),
        ("arm64", "00040014", Flow.JUMP, 0x1000, False),  # b
        ("arm64", "00010054", Flow.JUMP, 0x20, True),  # b.eq
        ("arm64", "000100b4", Flow.JUMP, 0x20, True),  # cbz x0
        ("arm64", "00010035", Flow.JUMP, 0x20, True),  # cbnz w0
        ("arm64", "00010036", Flow.JUMP, 0x20, True),  # tbz
        ("arm64", "c0035fd6", Flow.RETURN, None, False),
        ("arm64", "ff0b5fd6", Flow.RETURN, None, False),  # retaa
        ("arm64", "00003fd6", Flow.CALL, None, False),  # blr x0
        ("arm64", "00001fd6", Flow.JUMP, None, False),  # br x0
        ("arm64", "1f2003d5", Flow.NEXT, None, False),
        ("arm64", "e0039fd6", Flow.NEXT, None, False),  # eret is no function's return
        ("ppc64le", "01100048", Flow.CALL, 0x1000, False),  # bl
        ("ppc64le", "00100048", Flow.JUMP, 0x1000, False),  # b
        ("ppc64le", "20008241", Flow.JUMP, 0x20, True),  # beq
        ("ppc64le", "2000804e", Flow.RETURN, None, False),  # blr
        ("ppc64le", "2000824d", Flow.RETURN, None, True),  # beqlr
        ("ppc64le", "2004804e", Flow.JUMP, None, False),  # bctr
        ("ppc64le", "2104804e", Flow.CALL, None, False),  # bctrl
        ("ppc64le", "00000060", Flow.NEXT, None, False),
    ],
)
def test_flow(arch: str, code: str, flow: Flow, target: int | None, conditional: bool) -> None:
    data = bytes.fromhex(code)
    (insn,) = disassemble(arch, data, AT)
    assert (insn.address, insn.size, insn.end) == (AT, len(data), AT + len(data))
    assert insn.flow is flow
    assert insn.target == (None if target is None else AT + target)
    assert insn.is_conditional is conditional


def test_target_below_the_kernel_wraps_in_the_address_size() -> None:
    (insn,) = disassemble("x86_64", bytes.fromhex("e8 fbffffff"), 0xFFFFFFFF81000000)
    assert insn.target == 0xFFFFFFFF81000000
    (insn,) = disassemble("i386", bytes.fromhex("e8 fbffffff"), 0xC1000000)
    assert insn.target == 0xC1000000
    (insn,) = disassemble("arm64", bytes.fromhex("ffffff97"), 0xFFFFFFC008000000)
    assert insn.target == 0xFFFFFFC007FFFFFC


@pytest.mark.parametrize("arch", ARCHES)
@given(data=st.data())
def test_instructions_cover_any_bytes_without_gap(arch: str, data: st.DataObject) -> None:
    words = arch in ("arm64", "ppc64le")
    code = data.draw(st.binary(min_size=4, max_size=64))
    code = code[: len(code) // 4 * 4] if words else code
    instructions = disassemble(arch, code, AT)
    assert instructions[0].address == AT
    assert instructions[-1].end == AT + len(code)
    for one, following in itertools.pairwise(instructions):
        assert one.end == following.address


def test_unknown_architecture_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'mips' code; expected one of x86_64, i386"):
        disassemble("mips", b"\0\0\0\0", 0)


@pytest.mark.parametrize(
    ("code", "offset"),
    [
        (TOC_SETUP, 8),
        (struct.pack("<II", 0x3C400123, 0x38420456), 8),  # lis r2; addi r2,r2: fixed address
        (struct.pack("<II", 0xE84CFFF8, 0x7C426214), 8),  # ld r2,-8(r12); add r2,r2,r12: modules
        (TOC_SETUP[4:] + TOC_SETUP[:4], 0),
        (struct.pack("<II", 0x7C0802A6, 0xF8010010), 0),  # mflr r0; std r0
        (b"", 0),
    ],
)
def test_local_entry_is_behind_the_toc_setup(code: bytes, offset: int) -> None:
    assert ppc64le_local_entry(code) == offset
