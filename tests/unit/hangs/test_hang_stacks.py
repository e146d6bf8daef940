# SPDX-License-Identifier: BSD-2-Clause
"""Stacks out of registers and memory, on kernels of a few functions."""

import asyncio
import struct

import pytest

from harness.hangs import StackFrame
from harness.hangs.stack import Unwinder, pushed_bytes
from harness.places.disassemble import disassemble
from harness.places.symbols import Symbol, SymbolTable
from harness.qemu.gdb import ARCHITECTURES, Registers

TEXT = 0xFFFFFFFF81000000
STACK = 0xFFFFC90000080000
SIZE = 16384
FUNCTIONS = ("entry", "dispatch", "vfs", "wrapper", "worker", "leaf", "stale_a", "stale_b")


def start(name: str) -> int:
    return TEXT + 0x100 * FUNCTIONS.index(name)


class Kernel:
    """x86-64 code: each function calls at +0x10; `wrapper` ends in a jump to `worker`."""

    def __init__(self) -> None:
        self.symbols = SymbolTable(
            (
                *(Symbol(start(name), "t", name) for name in FUNCTIONS),
                Symbol(TEXT + 0x1000, "t", "end"),
            ),
            "test",
        )
        self.memory = {TEXT: bytearray(b"\x90" * 0x1100), STACK: bytearray(SIZE)}
        for caller, callee in (
            ("entry", "dispatch"), ("vfs", "wrapper"), ("worker", "leaf"), ("stale_a", "stale_b"),
        ):  # fmt: skip
            self.put(start(caller) + 0x10, b"\xe8" + self.relative(caller, 0x15, callee))
        self.put(start("dispatch") + 0x10, b"\xff\xd0")  # call *%rax
        self.put(start("wrapper") + 0x20, b"\xe9" + self.relative("wrapper", 0x25, "worker"))

    @staticmethod
    def relative(caller: str, end: int, callee: str) -> bytes:
        return struct.pack("<i", start(callee) - start(caller) - end)

    def put(self, address: int, data: bytes) -> None:
        for base, memory in self.memory.items():
            if base <= address < base + len(memory):
                memory[address - base : address - base + len(data)] = data

    def push(self, offset: int, value: int) -> None:
        self.put(STACK + offset, value.to_bytes(8, "little"))

    async def read(self, address: int, size: int) -> bytes:
        for base, memory in self.memory.items():
            if base <= address < base + len(memory):
                return bytes(memory[address - base : address - base + size])
        return b""

    def stack(self, sp: int, rbp: int = 0, cs: int = 0x10) -> list[str]:
        arch = ARCHITECTURES["x86_64"]
        registers = Registers({"rip": start("leaf") + 8, "rsp": sp, "rbp": rbp, "cs": cs}, arch)
        frames = asyncio.run(Unwinder(arch, self.symbols, self.read).stack(registers))
        return [shown(frame) for frame in frames]


def shown(frame: StackFrame) -> str:
    return ("" if frame.reliable else "? ") + (frame.function or hex(frame.address))


def returns_to(name: str) -> int:
    return start(name) + (0x12 if name == "dispatch" else 0x15)


def chain(kernel: Kernel) -> None:
    kernel.push(0x3E00, returns_to("worker"))
    kernel.push(0x3E80, returns_to("vfs"))
    kernel.push(0x3F00, returns_to("dispatch"))
    kernel.push(0x3F80, returns_to("entry"))


def test_calls_tie_the_frames_together() -> None:
    kernel = Kernel()
    chain(kernel)
    assert kernel.stack(STACK + 0x3D00) == ["leaf", "worker", "vfs", "dispatch", "entry"]


def test_what_is_left_over_is_marked() -> None:
    kernel = Kernel()
    chain(kernel)
    kernel.push(0x3E20, returns_to("stale_a"))
    kernel.push(0x3E28, start("stale_b") + 0x40)  # no call ends there
    kernel.push(0x3E30, TEXT + 0x4000000)  # data
    assert kernel.stack(STACK + 0x3D00) == [
        "leaf", "worker", "? stale_a", "vfs", "dispatch", "entry",
    ]  # fmt: skip


def test_an_earlier_call_of_the_same_kind_is_left_over() -> None:
    kernel = Kernel()
    for at in (0x3800, 0x3A00, 0x3C00):
        for offset, name in enumerate(("worker", "vfs", "dispatch")):
            kernel.push(at + 0x20 * offset, returns_to(name))
    kernel.push(0x3F80, returns_to("entry"))
    stack = kernel.stack(STACK + 0x3700)
    assert [name for name in stack if not name.startswith("?")] == [
        "leaf", "worker", "vfs", "dispatch", "entry",
    ]  # fmt: skip
    assert len(stack) == 11


def test_frame_pointers_are_believed() -> None:
    kernel = Kernel()
    chain(kernel)
    kernel.push(0x3E20, returns_to("worker"))  # would fit, but the chain does not go through it
    for at, above in ((0x3DF8, 0x3E78), (0x3E78, 0x3EF8), (0x3EF8, 0x3F78), (0x3F78, 0)):
        kernel.push(at, STACK + above if above else 0)
    assert kernel.stack(STACK + 0x3D00, rbp=STACK + 0x3DF8) == [
        "leaf", "worker", "? worker", "vfs", "dispatch", "entry",
    ]  # fmt: skip


def test_an_interrupt_s_stack_leads_to_the_interrupted_one() -> None:
    kernel = Kernel()
    interrupt = STACK + 0x100000 + 0x1000  # not aligned to its size, with a guard page behind it
    kernel.memory[interrupt] = bytearray(SIZE)
    kernel.put(interrupt + 0x3F00, returns_to("worker").to_bytes(8, "little"))
    kernel.put(interrupt + 0x3FF8, (STACK + 0x3E60).to_bytes(8, "little"))
    chain(kernel)
    assert kernel.stack(interrupt + 0x3E00) == ["leaf", "worker", "vfs", "dispatch", "entry"]


def test_user_mode_has_no_kernel_stack() -> None:
    kernel = Kernel()
    chain(kernel)
    assert kernel.stack(STACK + 0x3D00, cs=0x33) == [hex(start("leaf") + 8)]


def test_a_stack_that_cannot_be_read_leaves_the_first_frame() -> None:
    assert Kernel().stack(0xFFFFC9000F000000) == ["leaf"]


def test_arm64_frame_records_and_the_link_register() -> None:
    arch, text, stack = ARCHITECTURES["arm64"], 0xFFFFFFC008000000, 0xFFFFFFC010000000
    names = ("leaf", "middle", "outer", "end")
    symbols = SymbolTable(
        tuple(Symbol(text + 0x100 * n, "t", name) for n, name in enumerate(names)), "test"
    )
    code = bytearray(struct.pack("<I", 0xD503201F) * 0x100)
    for at, target in ((0x120, 0x0), (0x220, 0x100)):
        word = 0x94000000 | (target - at) >> 2 & 0x3FFFFFF
        code[at : at + 4] = struct.pack("<I", word)
    data = bytearray(SIZE)
    data[0x3F00:0x3F10] = struct.pack("<QQ", 0, text + 0x224)

    async def read(address: int, size: int) -> bytes:
        for base, memory in ((text, code), (stack, data)):
            if base <= address < base + len(memory):
                return bytes(memory[address - base : address - base + size])
        return b""

    values = {"pc": text + 4, "sp": stack + 0x3E00, "x29": stack + 0x3F00, "x30": text + 0x124}
    registers = Registers(values | {"cpsr": 0x5}, arch)
    frames = asyncio.run(Unwinder(arch, symbols, read).stack(registers))
    # the leaf has made no frame record: its caller is in the link register only
    assert [shown(frame) for frame in frames] == ["leaf", "middle", "outer"]


def test_ppc64le_back_chain() -> None:
    arch, text, stack = ARCHITECTURES["ppc64le"], 0xC000000000010000, 0xC000000004000000
    names = ("leaf", "middle", "outer", "end")
    symbols = SymbolTable(
        tuple(Symbol(text + 0x100 * n, "t", name) for n, name in enumerate(names)), "test"
    )
    code = bytearray(struct.pack("<I", 0x60000000) * 0x100)
    for at, target in ((0x120, 0x0), (0x220, 0x100)):
        code[at : at + 4] = struct.pack("<I", 0x48000001 | (target - at) & 0x3FFFFFC)
    data = bytearray(SIZE)
    for at, above, back in ((0x3C00, 0x3D00, 0), (0x3D00, 0x3E00, 0x124), (0x3E00, 0, 0x224)):
        data[at : at + 8] = struct.pack("<Q", stack + above if above else 0)
        data[at + 16 : at + 24] = struct.pack("<Q", text + back if back else 0)

    async def read(address: int, size: int) -> bytes:
        for base, memory in ((text, code), (stack, data)):
            if base <= address < base + len(memory):
                return bytes(memory[address - base : address - base + size])
        return b""

    values = {"pc": text + 8, "r1": stack + 0x3C00, "lr": text + 0x40, "msr": 1 << 63}
    frames = asyncio.run(Unwinder(arch, symbols, read).stack(Registers(values, arch)))
    assert [shown(frame) for frame in frames] == ["leaf", "middle", "outer"]


@pytest.mark.parametrize(
    ("code", "pushed"),
    [
        (b"\x55\x53\x48\x83\xec\x18", 0x28),  # push %rbp; push %rbx; sub $0x18,%rsp
        # push %rbx; test %edi,%edi; jz; pop %rbx; ret; behind it %rbx is still pushed
        (b"\x53\x85\xff\x74\x02\x5b\xc3\x90", 8),
        (b"\x53\x48\x83\xec\x10\x48\x83\xc4\x10\x5b\xe9\x00\x00\x00\x00\x90", 0x18),
        (b"\x48\x83\xe4\xf0", None),  # and $-16,%rsp
        (b"\x55\x48\x89\xe5", 8),  # push %rbp; mov %rsp,%rbp
        (b"", 0),
    ],
)
def test_what_a_function_has_pushed(code: bytes, pushed: int | None) -> None:
    assert pushed_bytes(disassemble("x86_64", code, TEXT), 8) == pushed


def test_a_return_address_where_the_pushes_say_is_the_right_one() -> None:
    """Two callers would fit; the one at the slot that the function's pushes point to is meant."""
    kernel = Kernel()
    kernel.put(start("worker"), b"\x53\x48\x83\xec\x10")  # push %rbx; sub $0x10,%rsp
    kernel.push(0x3E00, returns_to("worker"))
    kernel.push(0x3E10, returns_to("vfs"))  # left over
    kernel.push(0x3E20, returns_to("vfs"))
    kernel.push(0x3F00, returns_to("dispatch"))
    kernel.push(0x3F80, returns_to("entry"))
    assert kernel.stack(STACK + 0x3D00) == [
        "leaf", "worker", "? vfs", "vfs", "dispatch", "entry",
    ]  # fmt: skip
