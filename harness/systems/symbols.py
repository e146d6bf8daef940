# SPDX-License-Identifier: BSD-2-Clause
"""A kernel's own symbols and code: kallsyms of one boot, and the text out of its image."""

import tempfile
from pathlib import Path

from harness.files import write_atomically
from harness.kernels.kernel import Kernel
from harness.kernels.vmlinuz import extract_vmlinux
from harness.places.image import KernelImage
from harness.places.symbols import SymbolTable
from harness.progress import Say
from harness.qemu.guest import GuestFiles, GuestPlan, started_guest
from harness.systems.base import System


async def kernel_symbols(
    kernel: Kernel, plan: GuestPlan, system: System, cache: Path, say: Say
) -> SymbolTable:
    """Symbols as the running kernel has them, from the cache or one boot of `plan`.

    The kernel must be booted without address randomisation. Raises BootFailedError,
    ConfigurationError.
    """
    file = symbols_file(kernel, cache)
    if not file.exists():
        say(f"booting {kernel.label} once for its symbols")
        with tempfile.TemporaryDirectory(prefix="harness-symbols-") as folder:
            async with started_guest(plan, GuestFiles.within(Path(folder))) as guest:
                data = await system.read_symbols(guest.channel)
        SymbolTable.from_kallsyms(data, kernel.label)  # nothing damaged goes into the cache
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, data)
    return SymbolTable.from_kallsyms(file.read_bytes(), kernel.label)


def symbols_file(kernel: Kernel, cache: Path) -> Path:
    """Where the kernel's symbols are in the cache, once they were read."""
    return cache / "symbols" / f"{kernel.release}-{kernel.identity[:16]}.kallsyms"


def kernel_text(kernel: Kernel, symbols: SymbolTable) -> KernelImage:
    """The kernel's code by virtual address. Raises ConfigurationError."""
    image = extract_vmlinux(kernel.image.read_bytes())
    return KernelImage.from_file_bytes(image, symbols, kernel.label)
