# SPDX-License-Identifier: BSD-2-Clause
"""Source lines and inlining, from an ELF file's DWARF."""

import io
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from elftools.common.exceptions import DWARFError, ELFError
from elftools.elf.elffile import ELFFile

from harness.errors import ConfigurationError

# A distribution's vmlinux has ten million entries and the search only serves an error message.
_MOST_ENTRIES = 150_000
_SHF_EXECINSTR = 0x4


@dataclass(frozen=True)
class _Row:
    """One row of a line program: code at `address` belongs to `line` of `path`.

    Without a path it stands for code of other files.
    """

    path: str
    line: int
    address: int
    is_statement: bool


class LineTable:
    """The source lines of one ELF file with DWARF, read as they are asked for.

    Addresses are those of the running program: an executable's are its file's, a module's follow
    from where its sections were loaded.
    """

    def __init__(self, dwarf: Any, source: str) -> None:
        self.source = source
        self._dwarf = dwarf
        self._rows_of_file: dict[str, tuple[_Row, ...]] = {}

    @classmethod
    def from_elf(cls, data: bytes, source: str = "ELF file") -> "LineTable":
        """Open the DWARF of an ELF executable.

        Raises ConfigurationError if it is no ELF file or has no line information.
        """
        try:
            elf = ELFFile(io.BytesIO(data))
            has_dwarf = elf.has_dwarf_info() and (
                elf.get_section_by_name(".debug_line") or elf.get_section_by_name(".zdebug_line")
            )
            # An executable is relocated, though a vmlinux keeps its relocations (--emit-relocs).
            dwarf = elf.get_dwarf_info(relocate_dwarf_sections=False) if has_dwarf else None
        except ELFError as error:
            raise ConfigurationError(f"{source}: not a readable ELF file: {error}") from error
        if dwarf is None:
            raise ConfigurationError(
                f"{source}: no DWARF line information: build with -g (kernel: CONFIG_DEBUG_INFO)"
            )
        return cls(dwarf, source)

    @classmethod
    def from_module(cls, data: bytes, bases: Mapping[int, int], source: str) -> "LineTable":
        """Open the DWARF of a .ko file, or of the file with its debugging information.

        `bases` says where the sections are loaded, by their indices; code in others has no lines.
        Raises ConfigurationError if it is no ELF file or has no line information.
        """
        try:
            elf = ELFFile(io.BytesIO(_with_symbols_moved(data, bases)))
            has_lines = elf.has_dwarf_info() and elf.get_section_by_name(".debug_line")
            dwarf = elf.get_dwarf_info(relocate_dwarf_sections=True) if has_lines else None
        except ELFError as error:
            raise ConfigurationError(f"{source}: its DWARF cannot be read: {error}") from error
        if dwarf is None:
            raise ConfigurationError(f"{source}: no DWARF line information: build it with -g")
        return cls(dwarf, source)

    def addresses(self, file: str, line: int) -> tuple[int, ...]:
        """Where the code of a line begins, each separate piece of it, lowest first.

        `file` is a path or its last components. Empty if the line has no code. Raises
        ConfigurationError if no file or several files have that name.
        """
        rows = self._rows(file)
        starts: set[int] = set()
        before: _Row | None = None
        for row in rows:
            goes_on = before is not None and before.line == line
            if row.path and row.line == line and row.is_statement and not goes_on:
                starts.add(row.address)
            before = row
        return tuple(sorted(starts))

    def why_no_code(self, file: str, line: int) -> str:
        """For an error message: which lines near one have code."""
        lines = sorted({r.line for r in self._rows(file) if r.path and r.is_statement})
        below = [n for n in lines if n < line][-2:]
        above = [n for n in lines if n > line][:2]
        near = ", ".join(str(n) for n in (*below, *above))
        return (
            f"{self.source} has no code for that line (optimised away, not configured, or another "
            f"version of the file); nearest lines with code: {near or 'none'}"
        )

    def functions_inlining(self, name: str, near: int | None = None) -> tuple[str, ...]:
        """Functions into which a function was inlined, for error messages.

        The search ends after a bounded number of entries and can miss some; the compilation unit
        of the code at address `near` comes first.
        """
        found: dict[str, None] = {}
        budget = _MOST_ENTRIES
        for unit in self._units_with_string(name, near):
            inlined: dict[int, list[str]] = {}
            for origin, holder, used in _inlined_calls(unit):
                budget -= used
                if origin is not None:
                    inlined.setdefault(origin, []).append(holder)
            for origin, holders in inlined.items():
                if _name_of(self._dwarf.get_DIE_from_refaddr(origin, unit)) == name:
                    found.update(dict.fromkeys(holders))
            if budget <= 0:
                break
        return tuple(found)

    def _units_with_string(self, text: str, near: int | None = None) -> list[Any]:
        """The units that refer to a string (whole, or the end of a path), found by its bytes.

        Reading each unit's first entry takes pyelftools 12 s for a distribution's vmlinux; looking
        for the four bytes of a string's offset takes a moment, and a chance match does no harm.
        """
        info = self._dwarf.debug_info_sec.stream.getvalue()
        needles = [text.encode() + b"\0"]  # DW_FORM_string
        for section in (self._dwarf.debug_str_sec, self._dwarf.debug_line_str_sec):
            if section is not None:
                offsets = _string_offsets(section.stream.getvalue(), text.encode())
                needles += [offset.to_bytes(4, "little") for offset in offsets]
        places = sorted({at for needle in needles for at in _occurrences(info, needle)})
        units: dict[int, Any] = {}
        nearest = self._unit_at(near) if near is not None else None
        if nearest is not None:
            units[nearest.cu_offset] = nearest
        end = 0
        for at in places:
            if at < end:
                continue
            unit = self._dwarf.get_CU_containing(at)
            end = unit.cu_offset + unit.size
            units.setdefault(unit.cu_offset, unit)
        return list(units.values())

    def _unit_at(self, address: int) -> Any:
        ranges = self._dwarf.get_aranges()
        offset = ranges.cu_offset_at_addr(address) if ranges is not None else None
        return None if offset is None else self._dwarf.get_CU_at(offset)

    def _rows(self, file: str) -> tuple[_Row, ...]:
        if file not in self._rows_of_file:
            self._rows_of_file[file] = self._read_rows(file)
        return self._rows_of_file[file]

    def _read_rows(self, file: str) -> tuple[_Row, ...]:
        wanted = PurePosixPath(file).parts
        # A C file's code is in its own unit; only a header's is in many.
        named = self._units_with_string(wanted[-1]) if wanted else []
        own = [unit for unit in named if _ends_with(_unit_name(unit), wanted)]
        rows = [
            row
            for unit in own or self._dwarf.iter_CUs()
            for row in _line_rows(self._dwarf, unit, wanted)
            if _ends_with(row.path, wanted) or not row.path
        ]
        paths = sorted({row.path for row in rows} - {""})
        if not paths:
            names = sorted({PurePosixPath(_unit_name(u)).name for u in self._dwarf.iter_CUs()})
            near = [n for n in names if n[:3] == wanted[-1][:3]][:5] if wanted else []
            hint = f"; files with a similar name: {', '.join(near)}" if near else ""
            raise ConfigurationError(f"{self.source}: no code comes from a file {file}{hint}")
        if len(paths) > 1:
            raise ConfigurationError(
                f"{self.source}: {len(paths)} files are called {file}: {', '.join(paths[:8])}; "
                "write more of the path"
            )
        return tuple(rows)


def _with_symbols_moved(data: bytes, bases: Mapping[int, int]) -> bytes:
    """A relocatable file whose symbols have the addresses at which its sections are loaded.

    Relocations of the debugging sections then give addresses, as those of a linked program. Code
    that is nowhere (freed after loading) gets addresses that no kernel has.
    """
    elf = ELFFile(io.BytesIO(data))
    table: Any = elf.get_section_by_name(".symtab")
    if table is None:
        return data
    moved = bytearray(data)
    value = struct.Struct("<Q" if elf.elfclass == 64 else "<I")
    within = 8 if elf.elfclass == 64 else 4  # Elf64_Sym.st_value, Elf32_Sym.st_value
    for number, symbol in enumerate(table.iter_symbols()):
        index = symbol["st_shndx"]
        if not isinstance(index, int) or index >= elf.num_sections():
            continue
        if not elf.get_section(index)["sh_flags"] & _SHF_EXECINSTR:
            continue
        at = table["sh_offset"] + number * table["sh_entsize"] + within
        address = bases[index] + symbol["st_value"] if index in bases else 0
        value.pack_into(moved, at, address)
    return bytes(moved)


def _unit_name(unit: Any) -> str:
    return _name_of(unit.get_top_DIE())


def _name_of(entry: Any) -> str:
    seen = 0
    while seen < 4:  # a concrete copy names its abstract one, a definition its declaration
        attribute = entry.attributes.get("DW_AT_name")
        if attribute is not None:
            return str(attribute.value.decode("utf-8", "replace"))
        reference = next(
            (r for r in ("DW_AT_abstract_origin", "DW_AT_specification") if r in entry.attributes),
            None,
        )
        if reference is None:
            return ""
        entry = entry.get_DIE_from_attribute(reference)
        seen += 1
    return ""


def _ends_with(path: str, wanted: tuple[str, ...]) -> bool:
    return bool(wanted) and PurePosixPath(path).parts[-len(wanted) :] == wanted


def _occurrences(data: bytes, wanted: bytes) -> Iterator[int]:
    at = data.find(wanted)
    while at >= 0:
        yield at
        at = data.find(wanted, at + 1)


def _string_offsets(strings: bytes, end: bytes) -> Iterator[int]:
    """Where the zero-ended strings start that are `end` or a path that ends so."""
    for at in _occurrences(strings, end + b"\0"):
        before = strings[at - 1 : at]
        if before in (b"", b"\0", b"/"):
            yield strings.rfind(b"\0", 0, at) + 1
        if before not in (b"", b"\0"):
            yield at  # linkers merge a string with another's end


def _line_rows(dwarf: Any, unit: Any, wanted: tuple[str, ...]) -> Iterator[_Row]:
    """The rows of a unit that are of the wanted file, and for those between one without a path."""
    try:
        program = dwarf.line_program_for_CU(unit)
    except (DWARFError, ELFError):
        return
    if program is None:
        return
    paths = {n: p for n, p in _file_paths(program).items() if _ends_with(p, wanted)}
    if not paths:
        return
    in_other_file = False
    for entry in program.get_entries():
        state = entry.state
        if state is None:
            continue
        path = None if state.end_sequence else paths.get(state.file)
        if path is not None:
            yield _Row(path, state.line, state.address, bool(state.is_stmt))
        elif not in_other_file:
            yield _Row("", 0, state.address, False)
        in_other_file = path is None


def _file_paths(program: Any) -> dict[int, str]:
    """Paths by file number: from 0 in DWARF 5, from 1 before it, when directory 0 was implicit."""
    header = program.header
    from_zero = header["version"] >= 5
    directories = [d.decode("utf-8", "replace") for d in header["include_directory"]]
    if not from_zero:
        directories.insert(0, "")
    paths: dict[int, str] = {}
    for number, entry in enumerate(header["file_entry"], start=0 if from_zero else 1):
        directory = directories[entry.dir_index] if entry.dir_index < len(directories) else ""
        name = entry.name.decode("utf-8", "replace")
        paths[number] = str(PurePosixPath(directory) / name)
    return paths


def _inlined_calls(unit: Any) -> Iterator[tuple[int | None, str, int]]:
    """For each entry: the inlined function's reference (or None), who holds it, entries read."""
    stack: list[tuple[Any, Any]] = [(unit.get_top_DIE(), None)]
    while stack:
        entry, holder = stack.pop()
        for child in entry.iter_children():
            inside = child if child.tag == "DW_TAG_subprogram" else holder
            if child.tag == "DW_TAG_inlined_subroutine" and holder is not None:
                origin = child.attributes.get("DW_AT_abstract_origin")
                if origin is not None:
                    is_global = origin.form == "DW_FORM_ref_addr"
                    offset = origin.value + (0 if is_global else unit.cu_offset)
                    yield offset, _name_of(holder), 1
            else:
                yield None, "", 1
            if child.has_children:
                stack.append((child, inside))
