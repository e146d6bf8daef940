# SPDX-License-Identifier: BSD-2-Clause
"""Small programs of calls, jumps and returns, assembled for each architecture."""

import struct
from dataclasses import dataclass

from harness.places.image import KernelImage, Segment
from harness.places.symbols import Symbol, SymbolTable

BASE = {
    "x86_64": 0xFFFFFFFF81000000,
    "i386": 0xC1000000,
    "arm64": 0xFFFFFFC008000000,
    "ppc64le": 0xC000000000010000,
}
ARCHES = tuple(BASE)
ALIGNMENT = 64

# ELFv2: addis r2,r12,0x123 ; addi r2,r2,0x456
TOC_SETUP = struct.pack("<II", 0x3C4C0123, 0x38420456)

_SIZES = {"nop": 1, "call": 5, "jump": 5, "ret": 1}


@dataclass(frozen=True)
class Op:
    """One instruction: nop, ret, call or jump (to a label), or raw bytes."""

    kind: str
    target: str = ""
    raw: bytes = b""

    def size(self, arch: str) -> int:
        if self.kind == "raw":
            return len(self.raw)
        return _SIZES[self.kind] if arch in ("x86_64", "i386") else 4

    def encode(self, arch: str, at: int, to: int) -> bytes:
        if self.kind == "raw":
            return self.raw
        if arch in ("x86_64", "i386"):
            if self.kind in ("nop", "ret"):
                return b"\x90" if self.kind == "nop" else b"\xc3"
            opcode = b"\xe8" if self.kind == "call" else b"\xe9"
            return opcode + struct.pack("<i", to - (at + 5))
        if arch == "arm64":
            plain = {"nop": 0xD503201F, "ret": 0xD65F03C0}
            branch = {"call": 0x94000000, "jump": 0x14000000}
            word = plain.get(self.kind) or branch[self.kind] | ((to - at) >> 2 & 0x3FFFFFF)
            return struct.pack("<I", word)
        plain = {"nop": 0x60000000, "ret": 0x4E800020}
        branch = {"call": 0x48000001, "jump": 0x48000000}
        word = plain.get(self.kind) or branch[self.kind] | ((to - at) & 0x3FFFFFC)
        return struct.pack("<I", word)


NOP = Op("nop")
RET = Op("ret")


def call(target: str) -> Op:
    return Op("call", target)


def jump(target: str) -> Op:
    return Op("jump", target)


def raw(data: bytes) -> Op:
    return Op("raw", raw=data)


@dataclass(frozen=True)
class Program:
    """An assembled program, its symbols, and the address of each instruction by function."""

    arch: str
    symbols: SymbolTable
    image: KernelImage
    at: dict[str, list[int]]


def assemble(
    arch: str,
    functions: dict[str, list[Op]],
    aliases: dict[str, str] | None = None,
    entry_offset: dict[str, int] | None = None,
) -> Program:
    """Lay the functions out one behind the other.

    `aliases` gives further symbols (new name to function); calls of a function go
    `entry_offset` bytes behind its symbol. Labels may be `function+N`, N bytes in.
    """
    address = BASE[arch]
    at: dict[str, list[int]] = {}
    starts: dict[str, int] = {}
    for name, ops in functions.items():
        starts[name] = address
        at[name] = []
        for op in ops:
            at[name].append(address)
            address += op.size(arch)
        address = -(-address // ALIGNMENT) * ALIGNMENT
    for alias, name in (aliases or {}).items():
        starts[alias] = starts[name]

    def target_of(label: str) -> int:
        name, _, offset = label.partition("+")
        return starts[name] + int(offset or 0) + (entry_offset or {}).get(name, 0)

    code = bytearray(address - BASE[arch])
    for name, ops in functions.items():
        for op, where in zip(ops, at[name], strict=True):
            encoded = op.encode(arch, where, target_of(op.target) if op.target else 0)
            code[where - BASE[arch] : where - BASE[arch] + len(encoded)] = encoded
    table = [Symbol(start, "t", name) for name, start in starts.items()]
    table.append(Symbol(address, "T", "_etext"))
    return Program(
        arch,
        SymbolTable(tuple(table), "test symbols"),
        KernelImage((Segment(BASE[arch], bytes(code)),), arch, "test image"),
        at,
    )
