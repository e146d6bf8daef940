# SPDX-License-Identifier: BSD-2-Clause
"""A trial's evidence of a guest that is still there: what hung it, and a dump of its memory."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

from harness.errors import ConfigurationError, GuestError
from harness.hangs import FindThreads, Hang, add_lines, hang_as_text, inspect_hang
from harness.places.symbols import SymbolTable
from harness.qemu.dump import dump_memory
from harness.qemu.guest import RunningGuest
from harness.symbolize import SourceLines
from harness.systems.registry import SYSTEMS
from harness.systems.threads import THREADS
from harness.trials.arm import PreparedArm

_SYMBOLS_SECONDS = 15.0
DUMP = "memory.elf"


async def record_hang(guest: RunningGuest, arm: PreparedArm, folder: Path) -> Hang:
    """Looks at a guest that shows no life, and writes hang.txt and hang.json to `folder`.

    Failpoints must be disarmed: a held vCPU cannot be looked at. Raises OSError.
    """

    async def symbols(answers: bool) -> SymbolTable | None:
        # a guest that answers knows its modules too
        live = await _live_symbols(guest, arm) if answers else None
        return live or cached_symbols(arm)

    threads, why_not = await _threads_of(arm)
    hang = await inspect_hang(
        guest, arch=arm.arch, symbols=symbols, system=arm.system, threads=threads
    )
    if why_not:
        hang = replace(hang, notes=(*hang.notes, why_not))
    # beside a kernel that was built here
    vmlinux = arm.kernel.vmlinux or arm.kernel.image.with_name("vmlinux")
    if vmlinux.exists():
        hang = await asyncio.to_thread(_with_lines, hang, vmlinux)
    elif threads is not None:
        hang = await asyncio.to_thread(_with_lines, hang, arm.kernel.image)
    (folder / "hang.txt").write_text(hang_as_text(hang))
    (folder / "hang.json").write_text(json.dumps(hang.as_json(), indent=2) + "\n")
    return hang


async def _threads_of(arm: PreparedArm) -> tuple[FindThreads | None, str]:
    """How the guest's threads are found in its memory; or why they are not."""
    prepare = THREADS.get(arm.system)
    if prepare is None:
        return None, ""
    try:
        return await prepare(arm.kernel, arm.arch), ""
    except (ConfigurationError, OSError) as error:
        return None, f"the guest's threads cannot be found: {error}"


async def record_memory(guest: RunningGuest, arm: PreparedArm, folder: Path) -> str:
    """Dumps the memory of a guest that is still there to memory.elf in `folder`; what to say of it.

    Raises OSError, and InfrastructureError where the disk is too small.
    """
    try:
        dump = await dump_memory(
            guest.monitor, folder / DUMP, arch=arm.arch, symbols=cached_symbols(arm)
        )
    except GuestError as error:
        return f"no memory dump: {error}"
    opens = "crash and drgn open it" if dump.has_vmcoreinfo else "without VMCOREINFO: for gdb only"
    return f"{DUMP}: {dump.size / (1 << 20):.0f} MiB, {opens}"


def cached_symbols(arm: PreparedArm) -> SymbolTable | None:
    """The kernel's symbols if they are in the cache. No boot is spent on them."""
    if arm.symbols_file is None:
        return None
    try:
        return SymbolTable.read(arm.symbols_file.read_bytes(), arm.kernel.label)
    except (OSError, ConfigurationError):
        return None


def _with_lines(hang: Hang, vmlinux: Path) -> Hang:
    try:
        return add_lines(hang, SourceLines.open(vmlinux))
    except ConfigurationError:  # built without CONFIG_DEBUG_INFO
        return hang


async def _live_symbols(guest: RunningGuest, arm: PreparedArm) -> SymbolTable | None:
    try:
        async with asyncio.timeout(_SYMBOLS_SECONDS):
            data = await SYSTEMS[arm.system].read_symbols(guest.channel)
        return SymbolTable.read(data, arm.kernel.label)
    except (GuestError, ConfigurationError, TimeoutError):
        return None
