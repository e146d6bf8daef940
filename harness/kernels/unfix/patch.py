# SPDX-License-Identifier: BSD-2-Clause
"""A binary patch applied to an ELF kernel's bytes, or refused."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from harness.errors import ConfigurationError
from harness.kernels.unfix.assembler import Room, assemble, symbols_used
from harness.kernels.unfix.description import BinaryPatch, Outcome
from harness.kernels.unfix.flow import reachable
from harness.kernels.unfix.listing import Line, address_of, listing
from harness.kernels.unfix.patterns import (
    Bindings,
    compile_line,
    find_pieces,
    match_line,
    registers_of,
)
from harness.places.image import KernelImage
from harness.places.structures import Field, Structures
from harness.places.symbols import SymbolTable


@dataclass(frozen=True)
class Change:
    """One edit as it was made: its virtual address, the bytes and instructions before and after."""

    name: str
    about: str
    address: int
    before: bytes
    after: bytes
    before_text: tuple[str, ...]
    after_text: tuple[str, ...]

    @property
    def changed(self) -> int:
        """How many bytes differ."""
        return sum(one != other for one, other in zip(self.before, self.after, strict=True))


@dataclass(frozen=True)
class Patched:
    """The patched file, and all that was changed in it."""

    content: bytes
    function: str
    address: int
    changes: tuple[Change, ...]


def apply_binary_patch(patch: BinaryPatch, content: bytes, source: str) -> Patched:
    """The ELF file with the patch made; `source` names it in messages.

    Everything is looked up anew: the function by its symbol, fields by DWARF, instructions by
    disassembly. Raises ConfigurationError, and nothing is changed, if the code is not exactly as
    the description expects it before, or not as it promises after.
    """
    symbols = SymbolTable.from_elf(content, source)
    image = KernelImage.from_elf(content, source)
    if image.arch != patch.arch:
        raise ConfigurationError(f"{source} is {image.arch}; the binary patch is for {patch.arch}")
    start = symbols.function(patch.function).address
    name = f"{patch.function} in {source}"
    before = _function(patch, image, symbols)
    lines = before.parts[0]
    before.reachable(start, name)  # what cannot be followed now could not be checked afterwards
    fields = _fields(patch, content, start, source)
    bindings = find_pieces(patch.find, lines, fields, name)
    rooms = _rooms(patch, bindings, lines, name)
    addresses = {symbol: address_of(symbol, symbols) for symbol in symbols_used(rooms)}
    code = assemble(patch.arch, start, rooms, bindings, fields, addresses)
    patched = bytearray(content)
    for room in rooms:
        at = _file_offset(content, room.start, room.end - room.start, source)
        patched[at : at + room.end - room.start] = code[room.name]
    after = _function(patch, KernelImage.from_elf(bytes(patched), source), symbols)
    _check(patch.after, after, start, bindings, fields, name)
    about = {edit.name: edit.about for edit in patch.edit}
    return Patched(
        bytes(patched),
        patch.function,
        start,
        tuple(
            Change(
                room.name,
                about[room.name],
                room.start,
                image.read(room.start, room.end - room.start),
                code[room.name],
                _texts(lines, room),
                _texts(after.parts[0], room),
            )
            for room in sorted(rooms, key=lambda room: room.start)
        ),
    )


@dataclass(frozen=True)
class _Function:
    """A function's code: itself, and what the compiler moved away as unlikely."""

    parts: tuple[tuple[Line, ...], ...]
    beginnings: frozenset[int]
    """Of all functions of the kernel."""

    def reachable(self, start: int, name: str) -> tuple[Line, ...]:
        """The instructions that may be executed from `start` on. Raises ConfigurationError."""
        return reachable(self.parts, start, self.beginnings, name)


def _function(patch: BinaryPatch, image: KernelImage, symbols: SymbolTable) -> _Function:
    symbol = symbols.function(patch.function)
    extents = [
        range(*symbols.extent_of(part)) for part in (symbol, *symbols.cold_parts(symbol.name))
    ]
    return _Function(
        tuple(
            listing(patch.arch, image.read(part.start, len(part)), part.start, symbols, extents)
            for part in extents
        ),
        frozenset(s.address for s in symbols.symbols if s.is_text and ".cold" not in s.name),
    )


def _fields(patch: BinaryPatch, content: bytes, start: int, source: str) -> dict[str, Field]:
    if not patch.fields:
        return {}
    structures = Structures.around(content, start, source)
    found = {}
    for name, path in patch.fields.items():
        structure, _, field = path.partition(".")
        found[name] = structures.field(structure, field)
    return found


def _rooms(
    patch: BinaryPatch, bindings: Bindings, lines: Sequence[Line], name: str
) -> tuple[Room, ...]:
    boundaries = {line.insn.address for line in lines}
    rooms = []
    for edit in patch.edit:
        for label in (edit.start, edit.to):
            if label not in bindings.places:
                raise ConfigurationError(
                    f"the edit {edit.name!r} names the place {label!r}, which no piece has"
                )
        start, end = bindings.places[edit.start], bindings.places[edit.to]
        if not (start < end and {start, end} <= boundaries):
            raise ConfigurationError(
                f"{name}: the edit {edit.name!r} would go from {start:#x} to {end:#x}: in this "
                "build the two places are not in that order"
            )
        rooms.append(Room(edit.name, start, end, edit.code))
    for one, other in pairwise(sorted(rooms, key=lambda room: room.start)):
        if other.start < one.end:
            raise ConfigurationError(f"{name}: the edits {one.name} and {other.name} overlap")
    return tuple(rooms)


def _check(
    after: Outcome,
    function: _Function,
    start: int,
    bindings: Bindings,
    fields: Mapping[str, Field],
    name: str,
) -> None:
    """Refuses a patched function that is not as the description promises."""
    code = function.reachable(start, name)
    for text in after.never:
        pattern = compile_line(text, fields)
        for line in code:
            if match_line(pattern, line, bindings) is not None:
                raise ConfigurationError(
                    f"{name}: after the patch `{line.text}` at {line.insn.address:#x} can still "
                    f"be reached; the description says never `{text}`"
                )
    for text in after.always:
        pattern = compile_line(text, fields)
        if all(match_line(pattern, line, bindings) is None for line in code):
            raise ConfigurationError(
                f"{name}: after the patch nothing that can be reached is `{text}`, as the "
                "description says it must be"
            )
    for use in after.uses:
        if use.behind not in bindings.places or use.register_name not in bindings.registers:
            raise ConfigurationError(
                f"[after] speaks of %{use.register_name} behind {use.behind}; no piece has both"
            )
        allowed = [compile_line(text, fields) for text in use.only]
        for line in function.reachable(bindings.places[use.behind], name):
            if line.is_padding:
                continue
            names_it = bindings.registers[use.register_name] in registers_of(line.text)
            if names_it and all(match_line(ok, line, bindings) is None for ok in allowed):
                raise ConfigurationError(
                    f"{name}: after the patch `{line.text}` at {line.insn.address:#x} still uses "
                    f"%{use.register_name}; the description allows only: {', '.join(use.only)}"
                )


def _file_offset(content: bytes, address: int, size: int, source: str) -> int:
    try:
        for segment in ELFFile(io.BytesIO(content)).iter_segments("PT_LOAD"):
            at = address - segment["p_vaddr"]
            if at >= 0 and at + size <= segment["p_filesz"]:
                return int(segment["p_offset"]) + at
    except ELFError as error:
        raise ConfigurationError(f"{source}: not a readable ELF file: {error}") from error
    raise ConfigurationError(f"{source}: no bytes in the file for address {address:#x}")


def _texts(lines: Sequence[Line], room: Room) -> tuple[str, ...]:
    return tuple(line.text for line in lines if room.start <= line.insn.address < room.end)
