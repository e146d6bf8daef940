# SPDX-License-Identifier: BSD-2-Clause
"""A kernel's own symbols, with one boot of it where they are in no file."""

import tempfile
from pathlib import Path

from harness.files import write_atomically
from harness.kernels.kernel import Kernel
from harness.places.symbols import SymbolTable
from harness.progress import Say
from harness.qemu.guest import GuestFiles, GuestPlan, started_guest
from harness.systems.base import System


async def kernel_symbols(
    kernel: Kernel, plan: GuestPlan, system: System, cache: Path, say: Say
) -> SymbolTable:
    """Symbols as the running kernel has them, from a file or one boot of `plan`.

    The kernel must be booted without address randomisation. Raises BootFailedError,
    ConfigurationError.
    """
    file = system.symbols_file(kernel, cache)
    if not file.exists():
        say(f"booting {kernel.label} once for its symbols")
        with tempfile.TemporaryDirectory(prefix="harness-symbols-") as folder:
            async with started_guest(plan, GuestFiles.within(Path(folder))) as guest:
                data = await system.read_symbols(guest.channel)
        SymbolTable.read(data, kernel.label)  # nothing damaged goes into the cache
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, data)
    return SymbolTable.read(file.read_bytes(), kernel.label)
