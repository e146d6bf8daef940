# SPDX-License-Identifier: BSD-2-Clause
"""Machine code as instructions: where they are, what they call, and where they return."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import capstone
from capstone import x86

from harness.errors import ConfigurationError


class Flow(Enum):
    """What an instruction does to the flow of control."""

    NEXT = "goes on"
    CALL = "calls"
    JUMP = "jumps"
    RETURN = "returns"


@dataclass(frozen=True)
class Instruction:
    """One instruction; address and size in bytes, text as capstone prints it.

    `target` is where a direct call or jump goes; None for an indirect one and for the others.
    `is_conditional` says that it may also go on with the next instruction.
    """

    address: int
    size: int
    text: str
    flow: Flow = Flow.NEXT
    target: int | None = None
    is_conditional: bool = False

    @property
    def end(self) -> int:
        """The address of the next instruction."""
        return self.address + self.size


_MODES: dict[str, tuple[int, int]] = {
    "x86_64": (capstone.CS_ARCH_X86, capstone.CS_MODE_64),
    "i386": (capstone.CS_ARCH_X86, capstone.CS_MODE_32),
    "arm64": (capstone.CS_ARCH_ARM64, capstone.CS_MODE_LITTLE_ENDIAN),
    "ppc64le": (capstone.CS_ARCH_PPC, capstone.CS_MODE_64 | capstone.CS_MODE_LITTLE_ENDIAN),
}
ARCHES = tuple(_MODES)


def disassemble(arch: str, code: bytes, address: int) -> tuple[Instruction, ...]:
    """The instructions of `code`, which is linked at a virtual address and begins with one.

    Bytes that are no instruction come as `.byte`, and the next ones are tried (x86: one byte on;
    the others: four). Raises ConfigurationError for an architecture other than `ARCHES`.
    """
    if arch not in _MODES:
        raise ConfigurationError(
            f"cannot disassemble {arch!r} code; expected one of {', '.join(ARCHES)}"
        )
    engine = capstone.Cs(*_MODES[arch])
    engine.skipdata = True
    if arch in ("x86_64", "i386"):
        engine.detail = True
        return tuple(_x86_instructions(engine, code, address))
    return tuple(_word_instructions(engine, arch, code, address))


def ppc64le_local_entry(code: bytes) -> int:
    """How many bytes behind a function's symbol its local entry is: 8 or 0.

    `code` is its first 8 bytes or more. ELFv2 ABI, 2.3.2.1: the global entry sets r2 (TOC) from
    r12 by addis/addi; linkers turn addis into lis where the image has a fixed address. Modules are
    compiled with the large code model, which loads the distance from before the function. Callers
    within the kernel, or the module, jump behind these two.
    """
    if len(code) < 8:
        return 0
    first, second = struct.unpack_from("<II", code)
    if (first, second) == (0xE84CFFF8, 0x7C426214):  # ld r2,-8(r12); add r2,r2,r12
        return 8
    sets_high = first >> 16 in (0x3C4C, 0x3C40)  # addis r2,r12,x / lis r2,x
    sets_low = second >> 16 == 0x3842  # addi r2,r2,x
    return 8 if sets_high and sets_low else 0


def _x86_instructions(engine: capstone.Cs, code: bytes, address: int) -> Iterator[Instruction]:
    for insn in engine.disasm(code, address):
        text = f"{insn.mnemonic} {insn.op_str}".rstrip()
        if insn.id == 0:  # skipped data has no details
            yield Instruction(insn.address, insn.size, text)
            continue
        flow, target = Flow.NEXT, None
        if insn.group(capstone.CS_GRP_CALL):
            flow = Flow.CALL
        elif insn.group(capstone.CS_GRP_RET):
            flow = Flow.RETURN
        elif insn.group(capstone.CS_GRP_JUMP):
            flow = Flow.JUMP
        if flow in (Flow.CALL, Flow.JUMP):
            operand = insn.operands[0] if insn.operands else None
            if operand is not None and operand.type == x86.X86_OP_IMM:
                target = operand.imm & (
                    2**64 - 1 if engine.mode & capstone.CS_MODE_64 else 2**32 - 1
                )
        conditional = flow is Flow.JUMP and insn.id not in (x86.X86_INS_JMP, x86.X86_INS_LJMP)
        yield Instruction(insn.address, insn.size, text, flow, target, conditional)


def _word_instructions(
    engine: capstone.Cs, arch: str, code: bytes, address: int
) -> Iterator[Instruction]:
    """Fixed-width code: the text from capstone, the flow from the word itself."""
    flow_of = _arm64_flow if arch == "arm64" else _ppc64le_flow
    for insn in engine.disasm(code, address):
        text = f"{insn.mnemonic} {insn.op_str}".rstrip()
        if insn.size != 4:
            yield Instruction(insn.address, insn.size, text)
            continue
        (word,) = struct.unpack("<I", bytes(insn.bytes))
        flow, target, conditional = flow_of(word, insn.address)
        yield Instruction(insn.address, insn.size, text, flow, target, conditional)


def _arm64_flow(word: int, address: int) -> tuple[Flow, int | None, bool]:
    """Arm ARM, C4.1: branches, exception generating and system instructions."""
    if word & 0x7C000000 == 0x14000000:  # B, BL
        flow = Flow.CALL if word >> 31 else Flow.JUMP
        return flow, _relative(address, word & 0x3FFFFFF, 26, 4), False
    if word & 0xFF000000 == 0x54000000 or word & 0x7E000000 == 0x34000000:  # B.cond, CBZ, CBNZ
        return Flow.JUMP, _relative(address, word >> 5 & 0x7FFFF, 19, 4), True
    if word & 0x7E000000 == 0x36000000:  # TBZ, TBNZ
        return Flow.JUMP, _relative(address, word >> 5 & 0x3FFF, 14, 4), True
    if word & 0xFE000000 == 0xD6000000:  # BR, BLR, RET and their PAC forms
        kind = word >> 21 & 0x7
        if kind == 2:
            return Flow.RETURN, None, False
        if kind in (0, 1):
            return (Flow.CALL if kind else Flow.JUMP), None, False
    return Flow.NEXT, None, False


def _ppc64le_flow(word: int, address: int) -> tuple[Flow, int | None, bool]:
    """Power ISA, Book I, 2.4: branch instructions."""
    opcode, absolute, link = word >> 26, word >> 1 & 1, word & 1
    base = 0 if absolute else address
    if opcode == 18:  # b, bl
        return (
            (Flow.CALL if link else Flow.JUMP),
            _relative(base, word >> 2 & 0xFFFFFF, 24, 4),
            False,
        )
    branches_always = word >> 21 & 0x14 == 0x14
    if opcode == 16:  # bc, bcl
        target = _relative(base, word >> 2 & 0x3FFF, 14, 4)
        return (Flow.CALL if link else Flow.JUMP), target, not branches_always
    if opcode == 19 and word >> 1 & 0x3FF == 16:  # bclr: blr, beqlr, ...
        return (Flow.CALL if link else Flow.RETURN), None, not branches_always
    if opcode == 19 and word >> 1 & 0x3FF == 528:  # bcctr: bctr, bctrl
        return (Flow.CALL if link else Flow.JUMP), None, not branches_always
    return Flow.NEXT, None, False


def _relative(base: int, field: int, bits: int, scale: int) -> int:
    signed = field - (1 << bits) if field >> (bits - 1) else field
    return (base + signed * scale) & (2**64 - 1)
