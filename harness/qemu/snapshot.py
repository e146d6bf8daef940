# SPDX-License-Identifier: BSD-2-Clause
"""Snapshots of a ready guest: its memory stays where it is, only device state is written.

The guest that is saved has its memory in an anonymous file (memfd_create(2)) mapped shared, and
migrates with `x-ignore-shared`, so the migration stream holds device state only, tens of KiB.
A restored guest maps the same file copy-on-write: restoring copies nothing, and any number of
guests may be restored from one snapshot (QEMU, docs/vm-templating.rst). Both files live as long as
the harness's process: nothing is left on disk, however it ends.
"""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from qemu.qmp import QMPClient, QMPError

from harness.disk_tools import find_tool, missing_disk_tools
from harness.errors import GuestError, InfrastructureError
from harness.qemu.command import Disk, Memory

_IGNORE_SHARED = {"capabilities": [{"capability": "x-ignore-shared", "state": True}]}
_POLL_SECONDS = 0.01
_SAVE_SECONDS = 60.0


@dataclass(frozen=True)
class Snapshot:
    """A saved guest; the paths are valid while the storage that made them is open."""

    memory_paths: tuple[Path, ...]
    """One for each of the machine's memory nodes."""
    state_path: Path
    disk_path: Path
    """What the saved guest wrote to its disk, as a qcow2 overlay, where it had a disk."""
    console: Path | None = None
    """The saved guest's console so far: a restored guest's console goes on from there."""

    async def load(self, monitor: QMPClient) -> None:
        """Loads the device state into a QEMU started with `incoming` and lets it run."""
        await monitor.execute("migrate-set-capabilities", _IGNORE_SHARED)
        await monitor.execute("migrate-incoming", {"uri": f"exec:cat {self.state_path}"})
        await _migration_completed(monitor)
        await monitor.execute("cont")


@contextmanager
def snapshot_storage(memory_nodes: int = 1) -> Iterator[Snapshot]:
    """Room for one snapshot of a machine with so many memory nodes.

    Boot a guest with `memory_of` it, then `save_snapshot`.
    """
    with ExitStack() as files:
        memory = [_memory_file(f"guest-memory-{node}", files) for node in range(memory_nodes)]
        yield Snapshot(
            tuple(memory), _memory_file("guest-state", files), _memory_file("guest-disk", files)
        )


def _memory_file(name: str, stack: ExitStack) -> Path:
    """An anonymous file by a path that QEMU can open, until the stack is unwound."""
    descriptor = os.memfd_create(name)
    stack.callback(os.close, descriptor)
    return Path(f"/proc/{os.getpid()}/fd/{descriptor}")


def memory_of(snapshot: Snapshot) -> Memory:
    """The memory that a guest must be booted with to be saved as `snapshot`."""
    return Memory(snapshot.memory_paths, private=False)


def make_overlay(disk: Disk, overlay: Path) -> None:
    """Makes an existing file an empty qcow2 overlay of a disk. Raises InfrastructureError."""
    argv = [
        find_tool("qemu-img") or "qemu-img",
        "create",
        "-q",
        "-f",
        "qcow2",
        "-F",
        disk.format,
        "-b",
        str(disk.file),
    ]
    try:
        subprocess.run([*argv, str(overlay)], capture_output=True, text=True, check=True)
    except FileNotFoundError as error:
        raise InfrastructureError(missing_disk_tools() or "qemu-img does not run") from error
    except subprocess.CalledProcessError as error:
        raise InfrastructureError(
            f"qemu-img makes no overlay of {disk.file}: {error.stderr}"
        ) from error


async def save_snapshot(monitor: QMPClient, snapshot: Snapshot) -> None:
    """Stops the guest and saves it; end it afterwards, since its memory is the snapshot's.

    Raises GuestError where QEMU fails, dies or takes more than _SAVE_SECONDS.
    """
    try:
        async with asyncio.timeout(_SAVE_SECONDS):
            await monitor.execute("stop")
            await monitor.execute("migrate-set-capabilities", _IGNORE_SHARED)
            await monitor.execute("migrate", {"uri": f"exec:cat > {snapshot.state_path}"})
            await _migration_completed(monitor)
    except TimeoutError as error:
        raise GuestError(f"QEMU saved no snapshot within {_SAVE_SECONDS:g} s") from error
    except (QMPError, EOFError, OSError) as error:
        raise GuestError(f"QEMU saved no snapshot: {error}") from error


async def _migration_completed(monitor: QMPClient) -> None:
    while True:
        answer = await monitor.execute("query-migrate")
        status = answer.get("status") if isinstance(answer, dict) else None
        if status == "completed":
            return
        if status in ("failed", "cancelled"):
            raise GuestError(f"QEMU could not save or load a snapshot: {answer}")
        await asyncio.sleep(_POLL_SECONDS)
