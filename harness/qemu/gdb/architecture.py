# SPDX-License-Identifier: BSD-2-Clause
"""What the gdb client knows of each architecture, as data: registers, calls, stacks."""

from dataclasses import dataclass

from harness.errors import ConfigurationError


@dataclass(frozen=True)
class Architecture:
    """One architecture's registers, by the names in QEMU's target descriptions.

    Several names: the first one that the target has (qemu-system-x86_64 always calls the stack
    pointer `rsp`, qemu-system-i386 `esp`). Sizes are in bytes.
    """

    name: str
    word: int
    """Size of a pointer of the guest kernel."""
    pc: tuple[str, ...]
    sp: tuple[str, ...]
    frame: tuple[str, ...]
    """The frame pointer, where code keeps one."""
    result: tuple[str, ...]
    """What a function returns an integer or a pointer in (the architecture's ELF ABI)."""
    arguments: tuple[tuple[str, ...], ...]
    """Where a function's first integer arguments are; empty: on the stack."""
    link: tuple[str, ...]
    """Holds the return address at a function's entry; empty: it is on the stack's top."""
    mode: tuple[str, ...]
    """The register that tells kernel from user mode ..."""
    mode_mask: int
    """... by these bits ..."""
    kernel_mode: frozenset[int]
    """... which have one of these values in the kernel."""
    stack_bytes: int
    """A kernel stack's size and alignment (Linux THREAD_SIZE)."""
    return_slot: int
    """Where the return address is, in bytes from what the frame pointer or back chain points at."""
    back_chain: bool
    """Whether the stack pointer itself points at the chain of frames (ELFv2 ABI, 2.2.2.2)."""


_X86_64 = Architecture(
    name="x86_64",
    word=8,
    pc=("rip",),
    sp=("rsp",),
    frame=("rbp",),
    result=("rax",),
    arguments=(("rdi",), ("rsi",), ("rdx",), ("rcx",), ("r8",), ("r9",)),
    link=(),
    mode=("cs",),
    mode_mask=0x3,
    kernel_mode=frozenset({0}),
    stack_bytes=16384,
    return_slot=8,
    back_chain=False,
)
_I386 = Architecture(
    name="i386",
    word=4,
    pc=("eip", "rip"),
    sp=("esp", "rsp"),
    frame=("ebp", "rbp"),
    result=("eax", "rax"),
    arguments=(),
    link=(),
    mode=("cs",),
    mode_mask=0x3,
    kernel_mode=frozenset({0}),
    stack_bytes=8192,
    return_slot=4,
    back_chain=False,
)
_ARM64 = Architecture(
    name="arm64",
    word=8,
    pc=("pc",),
    sp=("sp",),
    frame=("x29",),
    result=("x0",),
    arguments=tuple((f"x{n}",) for n in range(8)),
    link=("x30",),
    mode=("cpsr",),
    mode_mask=0xC,  # PSTATE.M[3:2]: the exception level (Arm ARM, C5.2.19)
    kernel_mode=frozenset({0x4, 0x8, 0xC}),
    stack_bytes=16384,
    return_slot=8,
    back_chain=False,
)
_PPC64LE = Architecture(
    name="ppc64le",
    word=8,
    pc=("pc",),
    sp=("r1",),
    frame=("r1",),
    result=("r3",),
    arguments=tuple((f"r{n}",) for n in range(3, 11)),
    link=("lr",),
    mode=("msr",),
    mode_mask=1 << 14,  # MSR[PR], Power ISA, Book III, 4.2.1
    kernel_mode=frozenset({0}),
    stack_bytes=16384,
    return_slot=16,
    back_chain=True,
)
ARCHITECTURES = {arch.name: arch for arch in (_X86_64, _I386, _ARM64, _PPC64LE)}


def architecture(name: str) -> Architecture:
    """The architecture of that name. Raises ConfigurationError if it is none of ours."""
    try:
        return ARCHITECTURES[name]
    except KeyError:
        raise ConfigurationError(
            f"no register layout for {name!r}; there are: {', '.join(ARCHITECTURES)}"
        ) from None
