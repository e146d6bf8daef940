# SPDX-License-Identifier: BSD-2-Clause
"""A kernel's own symbols, with one boot of it where they are in no file."""

import tempfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from harness.files import write_atomically
from harness.kernels.kernel import Kernel
from harness.places.symbols import SymbolTable
from harness.progress import Say
from harness.qemu.guest import GuestFiles, GuestPlan, started_guest
from harness.systems.base import System


async def kernel_symbols(
    kernel: Kernel,
    plan: GuestPlan,
    system: System,
    cache: Path,
    say: Say,
    setup: Sequence[str] = (),
) -> SymbolTable:
    """Symbols as the running kernel has them, from a file or one boot of `plan`.

    With `setup`, commands that load modules, theirs are among them. The kernel must be booted
    without address randomisation. Raises BootFailedError, ConfigurationError.
    """
    file = system.symbols_file(kernel, cache)
    if setup:
        what = repr((plan.boot.append, plan.boot.initrd, tuple(setup)))
        file = file.with_suffix(f".{sha256(what.encode()).hexdigest()[:16]}.modules")
    if not file.exists():
        more = " and those of its modules" if setup else ""
        say(f"booting {kernel.label} once for its symbols{more}")
        with tempfile.TemporaryDirectory(prefix="harness-symbols-") as folder:
            async with started_guest(plan, GuestFiles.within(Path(folder))) as guest:
                if setup:
                    await guest.set_up(setup)
                data = await system.read_symbols(guest.channel)
        SymbolTable.read(data, kernel.label)  # nothing damaged goes into the cache
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, data)
    return SymbolTable.read(file.read_bytes(), kernel.label)
