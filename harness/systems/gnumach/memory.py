# SPDX-License-Identifier: BSD-2-Clause
"""Whether a guest's memory has room for kernel, shim and bootstrap program."""

import io
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from harness.errors import ConfigurationError
from harness.kernels.kernel import Kernel
from harness.plan.guest import GuestModel
from harness.systems.gnumach.program import SHIM_BASE

_MIB = 1 << 20
_LEAST_MIB = {"x86_64": 320, "i386": 128}
"""Less, and the kernel dies while it starts: the x86-64 SMP kernel of 2026 in the middle of its
first CPU's set-up with 192 and 224 MiB, sometimes by a double fault with 256."""
_OVERHEAD = 1 * _MIB
"""The shim, page boundaries, command lines and the memory map."""


def require_room(kernel: Kernel, program: Path, guest: GuestModel) -> None:
    """Raises ConfigurationError where kernel or program cannot be loaded.

    The shim stands at SHIM_BASE, what QEMU loads for it behind it, and the kernel with its program
    and symbols must end before it.
    """
    memory = guest.machine.memory_mib
    least = _LEAST_MIB[guest.arch]
    if memory < least:
        raise ConfigurationError(
            f"machine.memory_mib is {memory}: a GNU Mach kernel on {guest.arch} needs at least "
            f"{least} MiB, else it dies while it starts (a double fault)"
        )
    size = program.stat().st_size
    end = loaded_end(kernel.image.read_bytes(), kernel.label) + size + _OVERHEAD
    if end > SHIM_BASE:
        raise ConfigurationError(
            f"{kernel.label} with its bootstrap program ({size / _MIB:.0f} MiB) needs the first "
            f"{end / _MIB:.0f} MiB of memory, and the shim leaves it {SHIM_BASE // _MIB}: a "
            "workload's static data count in full, so allocate what is large with vm_allocate()"
        )
    loaded = SHIM_BASE + _OVERHEAD + kernel.image.stat().st_size + size
    if loaded > memory * _MIB:
        raise ConfigurationError(
            f"machine.memory_mib is {memory}: loading {kernel.label} with its bootstrap program "
            f"({size / _MIB:.0f} MiB) takes {loaded / _MIB:.0f} MiB"
        )


def loaded_end(data: bytes, source: str) -> int:
    """The first physical address behind a kernel and its symbols; raises ConfigurationError."""
    try:
        elf = ELFFile(io.BytesIO(data))
        ends = [s["p_paddr"] + s["p_memsz"] for s in elf.iter_segments("PT_LOAD")]
        symbols = sum(
            s["sh_size"]
            for s in elf.iter_sections()
            if s["sh_type"] in ("SHT_SYMTAB", "SHT_STRTAB")
        )
    except ELFError as error:
        raise ConfigurationError(f"{source}: not a readable ELF file: {error}") from error
    if not ends:
        raise ConfigurationError(f"{source}: the ELF file has nothing to load: it is no kernel")
    return int(max(ends)) + symbols
