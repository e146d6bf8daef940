# SPDX-License-Identifier: BSD-2-Clause
"""Stacks by call frame information, and memory as it is read from a stopped guest."""

import asyncio
import platform
import shutil
import subprocess

import pytest

from harness.errors import ConfigurationError
from harness.hangs.cfi import FrameTables
from harness.hangs.view import GuestView
from harness.places.structures import Field, Structures
from harness.places.symbols import SymbolTable

# `inner` moves its stack pointer in a way of its own, and keeps a register that `outer` uses.
_SOURCE = r"""
asm(".text\n"
    ".globl inner\n.type inner, @function\ninner:\n"
    ".cfi_startproc\n"
    "push %rbx\n.cfi_def_cfa_offset 16\n.cfi_offset %rbx, -16\n"
    "sub $32, %rsp\n.cfi_def_cfa_offset 48\n"
    ".globl inside\ninside: nop\n"
    "add $32, %rsp\npop %rbx\nret\n"
    ".cfi_endproc\n.size inner, . - inner\n"
    ".globl outer\n.type outer, @function\nouter:\n"
    ".cfi_startproc\n"
    "push %rbp\n.cfi_def_cfa_offset 16\n.cfi_offset %rbp, -16\n"
    "mov %rsp, %rbp\n.cfi_def_cfa_register %rbp\n"
    "call inner\n.globl behind\nbehind: leave\nret\n"
    ".cfi_endproc\n.size outer, . - outer\n"
    ".globl _start\n.type _start, @function\n_start: call outer\n.globl start_behind\n"
    "start_behind: hlt\n.size _start, . - _start\n");
struct chain { struct chain *next; int flag : 3, other : 5; };
typedef struct { char name[12]; union { struct { unsigned low : 16, one : 1, two : 1; };
                 void *key; }; struct chain links; } thing_t;
int use(thing_t *thing) { return thing->one + thing->links.flag; }
"""
pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64" or shutil.which("gcc") is None, reason="no gcc for x86-64"
)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("frames")
    (folder / "frames.c").write_text(_SOURCE)
    command = ["gcc", "-g", "-O1", "-nostdlib", "-static", "-no-pie", "-fno-pie", "frames.c"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return (folder / "a.out").read_bytes()


def memory(words: dict[int, int], sizes: list[int] | None = None) -> GuestView:
    """A guest whose memory is one page at 0x1000 with some words in it."""
    page = bytearray(4096)
    for address, value in words.items():
        page[address - 0x1000 : address - 0x1000 + 8] = value.to_bytes(8, "little")

    async def read(address: int, size: int) -> bytes:
        if sizes is not None:
            sizes.append(size)
        return bytes(page[address - 0x1000 : address - 0x1000 + size]) if address >= 0x1000 else b""

    return GuestView("x86_64", read)


def test_frames_and_registers_are_those_of_the_tables(program: bytes) -> None:
    symbols = SymbolTable.from_elf(program)
    at = {name: symbols.named(name)[0].address for name in ("inside", "behind", "start_behind")}
    # inner's frame: 32 bytes, rbx, return address; outer's: rbp, return address
    stack = {0x1120: 77, 0x1128: at["behind"], 0x1130: 0x1500, 0x1138: at["start_behind"]}
    tables = FrameTables.from_elf(program, "x86_64")

    frames = asyncio.run(
        tables.unwind(
            at["inside"],
            {"rsp": 0x1100, "rbx": 5, "rbp": 0x1130},
            memory(stack).read,
            is_return_address=False,
        )
    )

    assert [frame.pc for frame in frames] == [at["inside"], at["behind"], at["start_behind"]]
    assert frames[1].registers["rbx"] == 77
    assert frames[1].registers["rsp"] == 0x1130
    assert frames[2].registers["rbp"] == 0x1500
    assert frames[2].registers["rsp"] == 0x1140


def test_a_torn_stack_ends_the_frames(program: bytes) -> None:
    inside = SymbolTable.from_elf(program).named("inside")[0].address
    tables = FrameTables.from_elf(program, "x86_64")
    for registers in ({}, {"rsp": 0x10}, {"rsp": 0x1100}):
        frames = asyncio.run(
            tables.unwind(inside, registers, memory({}).read, is_return_address=False)
        )
        assert [frame.pc for frame in frames] == [inside]


def test_files_without_tables_are_refused(program: bytes) -> None:
    with pytest.raises(ConfigurationError, match="not a readable ELF file"):
        FrameTables.from_elf(b"no ELF", "x86_64")
    with pytest.raises(ConfigurationError, match="x86_64 and i386 only"):
        FrameTables.from_elf(program, "arm64")


def test_fields_are_where_the_compiler_put_them(program: bytes) -> None:
    use = SymbolTable.from_elf(program).named("use")[0].address
    of = Structures.around(program, use, "a program")
    assert of.size("thing_t") == 40
    assert of.field("thing_t", "name") == Field(0, 12)
    assert of.field("thing_t", "low") == Field(16, 2, 0, 16)
    assert of.field("thing_t", "two") == Field(18, 1, 1, 1)
    assert of.field("thing_t", "links.other") == Field(32, 1, 3, 5)
    assert of.field("thing_t", "key").size == 8
    assert of.field("chain", "other").value(bytes([0, 0, 0, 0, 0, 0, 0, 0, 0xF8])) == 31
    for structure, path, told in [
        ("thing", "name", "defines no structure thing"),
        ("chain", "last", "struct chain has no field last; there are: flag, next, other"),
        ("thing_t", "name.first", "no field name.first; there are: none"),
    ]:
        with pytest.raises(ConfigurationError, match=told):
            of.field(structure, path)
    with pytest.raises(ConfigurationError, match="no DWARF"):
        Structures.around(program, 0x10, "a program")


def test_memory_is_read_once_and_in_blocks() -> None:
    sizes: list[int] = []
    view = memory({0x1008: 0x1122334455667788, 0x1010: 0x6F6C6C6568}, sizes)

    async def script() -> None:
        assert await view.pointer(0x1008) == 0x1122334455667788
        assert await view.number(0x1000, Field(8, 1, 3, 1)) == 1
        assert await view.text(0x1010, 16) == "hello"
        assert await view.read(0x10, 8) == b""
        assert await view.pointer(0x10) == 0
        assert len(await view.read(0x1FFC, 16)) == 4

    asyncio.run(script())
    assert sizes.count(1024) == len(sizes)
    assert len(sizes) <= 5
