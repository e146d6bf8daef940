# SPDX-License-Identifier: BSD-2-Clause
"""Source file and line of stack frames, inlined ones too, from an ELF file's DWARF."""

import mmap
import posixpath
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain, pairwise
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from elftools.common.exceptions import DWARFError, ELFError
from elftools.dwarf.descriptions import describe_form_class
from elftools.elf.elffile import ELFFile

from harness.errors import ConfigurationError
from harness.places.symbols import Symbol, SymbolTable

_FRAME = re.compile(
    r"(?P<before>.*?)(?P<function>[A-Za-z_][\w.$]*)\+0x(?P<offset>[0-9a-f]{1,8})"
    r"(?:/0x(?P<size>[0-9a-f]{1,8})|/frame 0x[0-9a-f]{1,16})?(?![\w/])"
)
_ADDRESS = re.compile(r"\s+pc = 0x(?P<pc>[0-9a-f]{8,16})\s+lr = ")
"""A frame of DDB on arm64 (FreeBSD, sys/arm64/arm64/db_trace.c), whose kernel may know too few
names to tell its function."""
_POINTER = re.compile(r"(?:RIP|EIP|NIP|LR|pc|lr) ?:|\[exception RIP|[Ss]topped at|^ip ")
"""What stands before the address of something that happened, not one that is returned to."""
_LINUX_ALIGNMENT = 16
_MOST_INLINED = 64


class SourceFrame(NamedTuple):
    """One function at one address: `file` is relative to where it was built, if it is below.

    `inlined` is True for all but the outermost frame of an address.
    """

    function: str
    file: str
    line: int
    inlined: bool


class _Row(NamedTuple):
    address: int
    file: int
    line: int
    ends: bool


class SourceLines:
    """The source lines and inlined calls of one ELF executable with DWARF, read as asked for."""

    def __init__(self, dwarf: Any, symbols: SymbolTable, source: str) -> None:
        self.symbols = symbols
        self.source = source
        self._dwarf = dwarf
        self._ranges = dwarf.range_lists()
        self._units: dict[int, _Unit] = {}
        self._by_address: list[tuple[int, int, int]] | None = None

    @classmethod
    def open(cls, file: Path) -> "SourceLines":
        """Open an ELF executable, a vmlinux say. Its symbols are read too.

        Raises ConfigurationError if it is no ELF file, has no symbols or no line information.
        """
        try:
            with file.open("rb") as opened:
                data = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"cannot read the ELF file {file}: {error}") from error
        try:
            elf = ELFFile(cast(IO[bytes], data))
            if not elf.has_dwarf_info() or not (
                elf.get_section_by_name(".debug_line") or elf.get_section_by_name(".zdebug_line")
            ):
                raise ConfigurationError(
                    f"{file}: no DWARF line information: build with -g (kernel: CONFIG_DEBUG_INFO)"
                )
            # an executable is relocated, though a vmlinux keeps its relocations (--emit-relocs)
            dwarf = elf.get_dwarf_info(relocate_dwarf_sections=False)
        except ELFError as error:
            raise ConfigurationError(f"{file}: not a readable ELF file: {error}") from error
        return cls(dwarf, SymbolTable.from_elf(data[:], str(file)), str(file))

    def frames_at(self, address: int) -> tuple[SourceFrame, ...]:
        """The functions that an address is in, innermost first; empty where DWARF says nothing.

        Of a return address ask for the byte before it: it may be of another line, or function.
        """
        unit = self._unit_at(address)
        if unit is None:
            return ()
        with suppress(DWARFError, ELFError, KeyError, IndexError):
            return unit.frames_at(address)
        return ()

    def function_at(self, name: str, offset: int, size: int | None) -> Symbol | None:
        """The one function of that name that has the offset; None if there is none or are several.

        `size` in bytes is as kallsyms tells it, padding within, and tells functions of one name
        apart.
        """
        found = [s for s in self.symbols.functions(name) if offset <= s.size or not s.size]
        if len(found) > 1 and size is not None:
            found = [
                s for s in found if -(-s.size // _LINUX_ALIGNMENT) == -(-size // _LINUX_ALIGNMENT)
            ]
        return found[0] if len(found) == 1 else None

    def _unit_at(self, address: int) -> "_Unit | None":
        offset = None
        with suppress(DWARFError, ELFError):
            ranges = self._dwarf.get_aranges()
            offset = ranges.cu_offset_at_addr(address) if ranges is not None else None
        if offset is None:  # Clang writes no .debug_aranges
            offset = self._unit_offset_by_scan(address)
        if offset is None:
            return None
        if offset not in self._units:
            unit = self._dwarf.get_CU_at(offset)
            self._units[offset] = _Unit(self._dwarf, self._ranges, unit)
        return self._units[offset]

    def _unit_offset_by_scan(self, address: int) -> int | None:
        if self._by_address is None:
            self._by_address = sorted(
                (start, end, unit.cu_offset)
                for unit in self._dwarf.iter_CUs()
                for start, end in _ranges_of(unit.get_top_DIE(), self._ranges, unit)
            )
        at = bisect_right(self._by_address, (address, 1 << 64, 0)) - 1
        if at < 0:
            return None
        start, end, offset = self._by_address[at]
        return offset if start <= address < end else None


class _Unit:
    """One compilation unit."""

    def __init__(self, dwarf: Any, ranges: Any, unit: Any) -> None:
        self._ranges = ranges
        self._unit = unit
        self._top = unit.get_top_DIE()
        self._folder = _text(self._top, "DW_AT_comp_dir")
        program = dwarf.line_program_for_CU(unit)
        self._files = _file_names(program, self._folder) if program is not None else {}
        self._rows = _rows(program) if program is not None else []
        self._starts = [row.address for row in self._rows]

    def frames_at(self, address: int) -> tuple[SourceFrame, ...]:
        """As SourceLines.frames_at."""
        at = bisect_right(self._starts, address) - 1
        if at < 0 or self._rows[at].ends:
            return ()
        file, line = self._files.get(self._rows[at].file, "??"), self._rows[at].line
        chain = self._chain(address)
        frames = []
        for depth, entry in enumerate(reversed(chain)):
            inlined = depth < len(chain) - 1
            frames.append(SourceFrame(_function_name(entry), file, line, inlined))
            if inlined:
                file = self._files.get(_number(entry, "DW_AT_call_file"), "??")
                line = _number(entry, "DW_AT_call_line")
        return tuple(frames)

    def _chain(self, address: int) -> list[Any]:
        """The entries of the function that holds the address, then of those inlined into it."""
        chain: list[Any] = []
        inside: Any = self._top
        while inside is not None and len(chain) < _MOST_INLINED:
            inside = next(
                (child for child in _code_below(inside) if self._holds(child, address)), None
            )
            if inside is not None and inside.tag != "DW_TAG_lexical_block":
                chain.append(inside)
        return chain

    def _holds(self, entry: Any, address: int) -> bool:
        return any(
            start <= address < end for start, end in _ranges_of(entry, self._ranges, self._unit)
        )


_CODE = frozenset({"DW_TAG_subprogram", "DW_TAG_inlined_subroutine", "DW_TAG_lexical_block"})


def _code_below(entry: Any) -> Iterator[Any]:
    return (child for child in entry.iter_children() if child.tag in _CODE)


def _ranges_of(entry: Any, lists: Any, unit: Any) -> Iterator[tuple[int, int]]:
    """The address ranges of an entry, half open (DWARF 5, 2.17)."""
    attributes = entry.attributes
    low = attributes.get("DW_AT_low_pc")
    high = attributes.get("DW_AT_high_pc")
    if low is not None and high is not None:
        end = high.value
        if describe_form_class(high.form) != "address":
            end += low.value
        yield low.value, end
    elif "DW_AT_ranges" in attributes and lists is not None:
        top = unit.get_top_DIE().attributes.get("DW_AT_low_pc")
        base = top.value if top is not None else 0
        for part in lists.get_range_list_at_offset(attributes["DW_AT_ranges"].value, cu=unit):
            if hasattr(part, "base_address"):
                base = part.base_address
            elif getattr(part, "is_absolute", False):
                yield part.begin_offset, part.end_offset
            else:
                yield base + part.begin_offset, base + part.end_offset


def _rows(program: Any) -> list[_Row]:
    rows = []
    for entry in program.get_entries():
        state = entry.state
        if state is not None:
            rows.append(_Row(state.address, state.file, state.line, bool(state.end_sequence)))
    # of several rows of one address the last one counts; an end gives way to what begins there
    return sorted(rows, key=lambda row: (row.address, not row.ends))


def _file_names(program: Any, folder: str) -> dict[int, str]:
    """Paths by file number: from 0 in DWARF 5, from 1 before it, when directory 0 was implicit."""
    header = program.header
    from_zero = header["version"] >= 5
    folders = [name.decode("utf-8", "replace") for name in header["include_directory"]]
    if not from_zero:
        folders.insert(0, folder)
    names = {}
    for number, entry in enumerate(header["file_entry"], start=0 if from_zero else 1):
        within = folders[entry.dir_index] if entry.dir_index < len(folders) else ""
        path = posixpath.join(folder, within, entry.name.decode("utf-8", "replace"))
        names[number] = _short(posixpath.normpath(path), folder)
    return names


def _short(path: str, folder: str) -> str:
    """A path relative to the folder that it was compiled in, if it is below that."""
    return path.removeprefix(folder.rstrip("/") + "/") if folder else path


def _function_name(entry: Any) -> str:
    for _ in range(4):  # a concrete copy names its abstract one, a definition its declaration
        if "DW_AT_name" in entry.attributes:
            return _text(entry, "DW_AT_name")
        reference = next(
            (r for r in ("DW_AT_abstract_origin", "DW_AT_specification") if r in entry.attributes),
            None,
        )
        if reference is None:
            break
        entry = entry.get_DIE_from_attribute(reference)
    return "??"


def _text(entry: Any, name: str) -> str:
    attribute = entry.attributes.get(name)
    return attribute.value.decode("utf-8", "replace") if attribute is not None else ""


def _number(entry: Any, name: str) -> int:
    attribute = entry.attributes.get(name)
    return int(attribute.value) if attribute is not None else 0


def symbolize_lines(lines: Iterable[str], source: SourceLines) -> Iterator[str]:
    """The lines of a console log, with file and line behind each frame that the ELF file knows.

    A frame is `function+0xoffset` or `function+0xoffset/0xsize`, whatever stands before it; offsets
    are looked up, so that address randomisation does not matter. FreeBSD's `pc = 0x…  lr = 0x…` is
    an address, and gets its function, too. The frames inlined there come in lines of their own
    before it, marked [inline]; other lines stay as they are.
    """
    for line, following in pairwise(chain(lines, [""])):
        # of such a frame the address says more than the names before it, one of them its caller's
        if _ADDRESS.match(following) and not _ADDRESS.match(line):
            yield line
        else:
            yield from _symbolized(line, source)


def _symbolized(line: str, source: SourceLines) -> Iterator[str]:
    if (address := _ADDRESS.match(line)) is not None:
        yield from _addressed(line, int(address["pc"], 16), source)
        return
    found = _FRAME.match(line)
    frames = _frames_of(found, source) if found is not None else ()
    if found is None or not frames:
        yield line
        return
    before = found["before"]
    for frame in frames[:-1]:
        yield f"{_plain(before)}{frame.function} {frame.file}:{frame.line} [inline]"
    last = frames[-1]
    yield f"{line[: found.end()]} {last.file}:{last.line}{line[found.end() :]}"


def _addressed(line: str, pc: int, source: SourceLines) -> Iterator[str]:
    symbol, offset = source.symbols.find(pc) or (None, 0)
    frames = source.frames_at(pc - (offset > 0)) if symbol is not None else ()
    # a last symbol without a size has no end
    if symbol is None or not (frames or symbol.size):
        yield line
        return
    for frame in frames[:-1]:
        yield f"\t{frame.function} {frame.file}:{frame.line} [inline]"
    where = f" {frames[-1].file}:{frames[-1].line}" if frames else ""
    yield f"{line}  {symbol.name}+{offset:#x}{where}"


def _frames_of(found: re.Match[str], source: SourceLines) -> tuple[SourceFrame, ...]:
    offset = int(found["offset"], 16)
    size = int(found["size"], 16) if found["size"] else None
    symbol = source.function_at(found["function"], offset, size)
    if symbol is None:
        return ()
    is_return_address = offset > 0 and not _POINTER.search(found["before"])
    return source.frames_at(symbol.address + offset - is_return_address)


def _plain(before: str) -> str:
    """What stands before a frame, without the marks of that frame alone."""
    marks = r"\? $|\[<[^>]*>\] \??|(?:RIP|pc|lr) ?: ?(?:\d{4}:)?$|[\w.$]+\(\) at $"
    return re.sub(marks, "", before)
