# SPDX-License-Identifier: BSD-2-Clause
"""Systems whose threads are read out of a stopped guest's memory, by name."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import lru_cache
from pathlib import Path

from harness.hangs import FindThreads
from harness.hangs.evidence import GuestThread
from harness.hangs.view import GuestView
from harness.kernels.kernel import Kernel
from harness.systems.gnumach.threads import MachKernel, guest_threads


@lru_cache(maxsize=4)
def _mach_kernel(image: Path, arch: str, label: str) -> MachKernel:
    return MachKernel.from_elf(image.read_bytes(), arch, label)


async def _gnumach(kernel: Kernel, arch: str) -> FindThreads:
    # a second of work, in which the harness must go on listening
    known = await asyncio.to_thread(_mach_kernel, kernel.image, arch, kernel.label)

    async def find(view: GuestView) -> tuple[GuestThread, ...]:
        return await guest_threads(known, view)

    return find


THREADS: dict[str, Callable[[Kernel, str], Awaitable[FindThreads]]] = {"gnumach": _gnumach}
"""What must be known of a kernel, by its file and architecture, before its guest is stopped.

Each raises ConfigurationError for a kernel whose file does not say enough, OSError for none.
"""
