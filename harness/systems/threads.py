# SPDX-License-Identifier: BSD-2-Clause
"""Systems whose threads are read out of a stopped guest's memory, by name."""

import asyncio
from collections.abc import Awaitable, Callable

from harness.hangs.evidence import GuestThread
from harness.hangs.view import GuestView
from harness.kernels.kernel import Kernel
from harness.systems.gnumach.threads import MachKernel, guest_threads


async def _gnumach(kernel: Kernel, view: GuestView) -> tuple[GuestThread, ...]:
    data = kernel.image.read_bytes()
    # reading DWARF takes a second, in which the harness must go on listening
    known = await asyncio.to_thread(MachKernel.from_elf, data, view.arch, kernel.label)
    return await guest_threads(known, view)


THREADS: dict[str, Callable[[Kernel, GuestView], Awaitable[tuple[GuestThread, ...]]]] = {
    "gnumach": _gnumach
}
"""Each raises ConfigurationError for a kernel whose file does not say enough."""
