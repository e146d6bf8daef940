# SPDX-License-Identifier: BSD-2-Clause
"""Stacks unwound by the call frame information of the kernel's own file: each frame for certain.

DWARF 5, 6.4; .eh_frame as in the Linux Standard Base, 10.6.1. Register numbers are those of the
System V ABI's processor supplements (x86-64: figure 3.36; i386: table 2.14).
"""

import io
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from elftools.common.exceptions import DWARFError, ELFError
from elftools.dwarf.callframe import FDE
from elftools.elf.elffile import ELFFile

from harness.errors import ConfigurationError

Read = Callable[[int, int], Awaitable[bytes]]
"""Address and size of virtual memory in bytes; fewer come back where the rest is not mapped."""

MOST_FRAMES = 64
_NAMES = {
    "x86_64": (
        *("rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp"),
        *(f"r{number}" for number in range(8, 16)),
        "rip",
    ),
    "i386": ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "eip"),
}
_WORDS = {"x86_64": 8, "i386": 4}
_PRESERVED = {
    "x86_64": ("rbx", "rbp", "r12", "r13", "r14", "r15"),
    "i386": ("ebx", "ebp", "esi", "edi"),
}


@dataclass(frozen=True)
class Frame:
    """One frame: where it is, and the registers as they are there, as far as they are known."""

    pc: int
    registers: Mapping[str, int]


class FrameTables:
    """The call frame information of one ELF executable, for x86_64 and i386."""

    def __init__(self, entries: list[FDE], arch: str) -> None:
        self._arch = arch
        self._entries = sorted(entries, key=lambda entry: entry["initial_location"])
        self._starts = [entry["initial_location"] for entry in self._entries]

    @classmethod
    def from_elf(cls, data: bytes, arch: str, source: str = "ELF file") -> "FrameTables":
        """Reads .eh_frame, or else .debug_frame.

        Raises ConfigurationError if there is neither, or no ELF file, or another architecture.
        """
        if arch not in _NAMES:
            raise ConfigurationError(f"no call frame registers for {arch!r}: x86_64 and i386 only")
        try:
            dwarf = ELFFile(io.BytesIO(data)).get_dwarf_info(relocate_dwarf_sections=False)
            entries: list[Any] = []
            if dwarf.has_EH_CFI():
                entries = dwarf.EH_CFI_entries()
            elif dwarf.has_CFI():
                entries = dwarf.CFI_entries()
        except (ELFError, DWARFError) as error:
            raise ConfigurationError(f"{source}: not a readable ELF file: {error}") from error
        frames = [entry for entry in entries if isinstance(entry, FDE)]
        if not frames:
            raise ConfigurationError(f"{source}: no call frame information in the ELF file")
        return cls(frames, arch)

    async def unwind(
        self, pc: int, registers: Mapping[str, int], read: Read, *, is_return_address: bool
    ) -> list[Frame]:
        """The frames from `pc` outwards, innermost first, as far as the tables lead.

        `registers` by their names; the stack pointer is needed. `is_return_address` says that `pc`
        is behind a call, as in a thread that was switched away from. What follows needs no table
        where the code has none: the chain of frame pointers is gone along.
        """
        frames = [Frame(pc, dict(registers))]
        at_call = is_return_address
        while len(frames) < MOST_FRAMES:
            last = frames[-1]
            caller = await self._caller(last, read, at_call)
            if caller is None or caller.pc == 0:
                break
            if self._sp(caller) <= self._sp(last):
                break
            frames.append(caller)
            at_call = True
        return frames

    def _sp(self, frame: Frame) -> int:
        return frame.registers.get("rsp" if self._arch == "x86_64" else "esp", 0)

    def _entry(self, address: int) -> FDE | None:
        at = bisect_right(self._starts, address) - 1
        if at < 0:
            return None
        entry = self._entries[at]
        inside = address < entry["initial_location"] + entry["address_range"]
        return entry if inside else None

    async def _caller(self, frame: Frame, read: Read, at_call: bool) -> Frame | None:
        entry = self._entry(frame.pc - at_call)
        if entry is None:
            return await self._by_frame_pointer(frame, read)
        row = None
        for candidate in entry.get_decoded().table:
            if candidate["pc"] > frame.pc - at_call:
                break
            row = candidate
        names = _NAMES[self._arch]
        if row is None or row["cfa"].reg is None:
            return None
        base = frame.registers.get(names[row["cfa"].reg])
        if base is None:
            return None
        cfa = base + row["cfa"].offset
        back = names.index("rip" if self._arch == "x86_64" else "eip")
        known = frame.registers
        found = {name: known[name] for name in _PRESERVED[self._arch] if name in known}
        for number, rule in row.items():
            if not isinstance(number, int) or number >= len(names):
                continue
            if rule.type == "OFFSET":
                value = await self._word(read, cfa + rule.arg)
                if value is None:
                    return None
                found[names[number]] = value
            elif rule.type == "UNDEFINED":
                found.pop(names[number], None)
        if names[back] not in found:
            return None
        pc = found[names[back]]
        found["rsp" if self._arch == "x86_64" else "esp"] = cfa
        return Frame(pc, found)

    async def _by_frame_pointer(self, frame: Frame, read: Read) -> Frame | None:
        """Assembler code without a table is the outermost, or keeps the frame pointer."""
        word = _WORDS[self._arch]
        pointer, stack = ("rbp", "rsp") if self._arch == "x86_64" else ("ebp", "esp")
        base = frame.registers.get(pointer, 0)
        if base < self._sp(frame):
            return None
        above, pc = await self._word(read, base), await self._word(read, base + word)
        if not above or not pc or self._entry(pc - 1) is None:
            return None
        return Frame(pc, {pointer: above, stack: base + 2 * word})

    async def _word(self, read: Read, address: int) -> int | None:
        word = _WORDS[self._arch]
        data = await read(address, word)
        return int.from_bytes(data, "little") if len(data) == word else None
