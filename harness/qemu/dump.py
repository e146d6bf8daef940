# SPDX-License-Identifier: BSD-2-Clause
"""A dump of a guest's memory as an ELF core that crash, drgn and gdb open.

QEMU writes the core (QMP `dump-guest-memory`, docs in qapi/dump.json): one PT_LOAD for each block
of guest-physical memory, and for each vCPU a CORE and a QEMU note with its registers. What crash
and drgn need beside it is the note VMCOREINFO, which says where the kernel is. QEMU has it only of
a guest with `-device vmcoreinfo` and a driver; here it is read out of the guest's memory and added.
"""

import os
import struct
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import BinaryIO

from qemu.qmp import QMPClient, QMPError

from harness.errors import GuestError, InfrastructureError
from harness.places.symbols import SymbolTable
from harness.qemu.gdb import GdbClient, attached

_IDENT_64, _LITTLE = 2, 1
_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_PHDR = struct.Struct("<IIQQQQQQ")
_NOTE = struct.Struct("<III")
_PHOFF, _PHNUM = 5, 10
_PT_LOAD, _PT_NOTE = 1, 4
_PAGE = 4096
_VMCOREINFO = b"VMCOREINFO\0"
_MOST_VMCOREINFO = 1 << 16


class DumpError(GuestError):
    """The guest's memory could not be dumped, or the dump is not what was expected."""


@dataclass(frozen=True)
class Dump:
    """A dump that was written: its file, its size in bytes, whether it has VMCOREINFO."""

    file: Path
    size: int
    has_vmcoreinfo: bool


async def dump_memory(
    monitor: QMPClient, file: Path, *, arch: str, symbols: SymbolTable | None
) -> Dump:
    """Writes the guest's memory to `file`; the guest stands still meanwhile, and then goes on.

    `symbols`, a Linux kernel's with its data (CONFIG_KALLSYMS_ALL), tell where VMCOREINFO is;
    without them the dump has none, and only gdb and tools that are told where the kernel is can
    read it. Raises DumpError; InfrastructureError where the disk is too small.
    """
    try:
        size = await _memory_size(monitor)
    except QMPError as error:
        raise DumpError(f"QEMU does not tell how much memory the guest has: {error}") from error
    room = os.statvfs(file.parent)
    if room.f_bavail * room.f_frsize < size * 1.1:
        raise InfrastructureError(
            f"{file.parent} has no room for a memory dump of {size / (1 << 20):.0f} MiB: free "
            "some space or go without --dump-memory"
        )
    note = await _vmcoreinfo(monitor, arch, symbols) if symbols is not None else None
    try:
        await monitor.execute(
            "dump-guest-memory", {"paging": False, "protocol": f"file:{file}", "format": "elf"}
        )
    except QMPError as error:
        raise DumpError(f"QEMU could not dump the guest's memory: {error}") from error
    file.chmod(0o600)  # QEMU makes it read-only
    if note is not None:
        with file.open("r+b") as core:
            add_note(core, note)
    return Dump(file, file.stat().st_size, note is not None)


async def keep_after_shutdown(monitor: QMPClient) -> None:
    """From now on a guest that shuts down or reboots (a panic) is stopped instead of ended.

    With -no-reboot its memory stays as the panic left it, and can be dumped (QMP `set-action`,
    QEMU 6.0). Raises DumpError.
    """
    try:
        await monitor.execute("set-action", {"shutdown": "pause"})
    except QMPError as error:
        raise DumpError(f"QEMU would not stay for a memory dump: {error}") from error


async def shut_down(monitor: QMPClient) -> str:
    """Returns when the guest has shut down or reset itself; what QEMU says of it."""
    with monitor.listener("SHUTDOWN") as events:
        event = await events.get()
    data = event.get("data")
    return str(data.get("reason")) if isinstance(data, dict) else "unknown"


async def _memory_size(monitor: QMPClient) -> int:
    answer = await monitor.execute("query-memory-size-summary")
    return int(answer["base-memory"]) if isinstance(answer, dict) else 0


async def _vmcoreinfo(monitor: QMPClient, arch: str, symbols: SymbolTable) -> bytes | None:
    """The note that the kernel keeps ready (kernel/crash_core.c, vmcoreinfo_note)."""
    found = symbols.named("vmcoreinfo_note")
    if len(found) != 1:
        return None
    async with attached(monitor, arch) as client:
        thread = (await client.threads())[0]
        word = client.arch.word
        note = int.from_bytes(await client.read_memory(thread, found[0].address, word), "little")
        return await _read_note(client, thread, note)


async def _read_note(client: GdbClient, thread: str, address: int) -> bytes | None:
    header = await client.read_memory(thread, address, _NOTE.size)
    if len(header) < _NOTE.size:
        return None
    name_size, content_size, _ = _NOTE.unpack(header)
    if name_size != len(_VMCOREINFO) or not 0 < content_size < _MOST_VMCOREINFO:
        return None
    size = _NOTE.size + _padded(name_size) + _padded(content_size)
    note = await client.read_memory(thread, address, size)
    has_name = note[_NOTE.size :].startswith(_VMCOREINFO)
    return note if len(note) == size and has_name else None


def _padded(size: int) -> int:
    return (size + 3) & ~3


@dataclass(frozen=True)
class _Segment:
    """A program header of an ELF64 file (elf(5), Elf64_Phdr)."""

    kind: int
    flags: int
    offset: int
    vaddr: int
    paddr: int
    file_size: int
    memory_size: int
    align: int

    def packed(self) -> bytes:
        return _PHDR.pack(*astuple(self))

    def part(self, start: int, end: int, offset: int) -> "_Segment":
        """The bytes from `start` to `end` of it, which are at another place of the file."""
        return replace(
            self,
            offset=offset,
            vaddr=self.vaddr and self.vaddr + start,
            paddr=self.paddr + start,
            file_size=end - start,
            memory_size=self.memory_size - self.file_size + end - start,
        )


def add_note(core: BinaryIO, note: bytes) -> None:
    """Adds a note, header and all, to a 64-bit little-endian ELF core open for reading and writing.

    crash wants all notes in front of the memory, where QEMU has left no room: the first pages of
    the memory make place for them. They go to the file's end, as a segment of their own. A core
    that has such a note already stays as it is. Raises DumpError for another kind of file.
    """
    core.seek(0)
    header = core.read(_EHDR.size)
    is_elf64 = header[:4] == b"\x7fELF" and header[4:6] == bytes((_IDENT_64, _LITTLE))
    if len(header) < _EHDR.size or not is_elf64:
        raise DumpError(f"expected a 64-bit little-endian ELF core, found {header[:6]!r}")
    fields = list(_EHDR.unpack(header))
    table, entries = fields[_PHOFF], fields[_PHNUM]
    core.seek(table)
    segments = [_Segment(*_PHDR.unpack(core.read(_PHDR.size))) for _ in range(entries)]
    notes = next((s for s in segments if s.kind == _PT_NOTE), None)
    memory = [s for s in segments if s.kind == _PT_LOAD]
    if notes is None or not memory:
        raise DumpError("the core has no notes to add one to, or no memory")
    core.seek(notes.offset)
    content = core.read(notes.file_size)
    if _VMCOREINFO in content:
        return
    content += bytes(_padded(len(content)) - len(content)) + note
    first = min(memory, key=lambda segment: segment.offset)
    start = table + (entries + 1) * _PHDR.size
    moved = -(-max(0, start + len(content) - first.offset) // _PAGE) * _PAGE
    if moved >= first.file_size or not table < notes.offset < first.offset:
        raise DumpError("the core is laid out in another way than QEMU does it")
    core.seek(first.offset)
    head = core.read(moved)
    end = (core.seek(0, os.SEEK_END) + _PAGE - 1) & -_PAGE
    core.seek(end)
    core.write(head)
    size = len(content)
    changed = [replace(notes, offset=start, file_size=size, memory_size=size)]
    changed += [
        s.part(moved, s.file_size, s.offset + moved) if s is first else s
        for s in segments
        if s is not notes
    ]
    changed.append(first.part(0, moved, end))
    fields[_PHNUM] = len(changed)
    core.seek(table)
    core.write(b"".join(segment.packed() for segment in changed) + content)
    core.seek(0)
    core.write(_EHDR.pack(*fields))
