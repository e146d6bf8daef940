# SPDX-License-Identifier: BSD-2-Clause
"""Where the fields of C structures are, from an ELF file's DWARF."""

import io
from dataclasses import dataclass
from typing import Any

from elftools.common.exceptions import DWARFError, ELFError
from elftools.elf.elffile import ELFFile

from harness.errors import ConfigurationError

_AGGREGATES = ("DW_TAG_structure_type", "DW_TAG_union_type")
_TRANSPARENT = ("DW_TAG_typedef", "DW_TAG_const_type", "DW_TAG_volatile_type")
_DEEPEST = 16


@dataclass(frozen=True)
class Field:
    """A field's place from the start of its structure; `offset` and `size` in bytes.

    A bit-field has `bits` of them from bit `shift` of the little-endian integer of `size` bytes
    at `offset`, the smallest that holds it; for the others `bits` is 0.
    """

    offset: int
    size: int
    shift: int = 0
    bits: int = 0

    @property
    def mask(self) -> int:
        """The bits of a bit-field in its integer; all bits of any other field."""
        return ((1 << (self.bits or 8 * self.size)) - 1) << self.shift

    def value(self, structure: bytes) -> int:
        """The field as an unsigned number, out of the bytes of its structure."""
        raw = int.from_bytes(structure[self.offset : self.offset + self.size], "little")
        return (raw & self.mask) >> self.shift


class Structures:
    """The structures of one compilation unit: that of the function at an address.

    What a unit does not define itself (a forward declaration) it does not know.
    """

    def __init__(self, unit: Any, source: str) -> None:
        self.source = source
        self._unit = unit
        self._by_name: dict[str, Any] = {}
        for entry in unit.get_top_DIE().iter_children():
            is_defined = entry.tag in _AGGREGATES and "DW_AT_byte_size" in entry.attributes
            name = _name(entry)
            if name and is_defined:
                self._by_name[name] = entry
            elif name and entry.tag == "DW_TAG_typedef":
                self._by_name.setdefault(name, entry)

    @classmethod
    def around(cls, data: bytes, address: int, source: str = "ELF file") -> "Structures":
        """The structures that the code at an address was compiled with.

        Raises ConfigurationError if the file is no ELF file or has no DWARF for the address.
        """
        try:
            elf = ELFFile(io.BytesIO(data))
            dwarf = elf.get_dwarf_info(relocate_dwarf_sections=False)
            ranges = dwarf.get_aranges() if elf.has_dwarf_info() else None
            offset = ranges.cu_offset_at_addr(address) if ranges is not None else None
            if offset is None:
                raise ConfigurationError(
                    f"{source}: no DWARF (.debug_info and .debug_aranges) for the code at "
                    f"{address:#x}: a kernel built with -g and not stripped is needed"
                )
            return cls(dwarf.get_CU_at(offset), source)
        except (ELFError, DWARFError) as error:
            raise ConfigurationError(f"{source}: not a readable ELF file: {error}") from error

    def size(self, structure: str) -> int:
        """A structure's size in bytes. Raises ConfigurationError if it is not known."""
        return int(self._resolved(self._named(structure)).attributes["DW_AT_byte_size"].value)

    def field(self, structure: str, path: str) -> Field:
        """A field by its structure's name (a tag or a typedef) and its path: `links.next`.

        Fields of unnamed structures and unions within are found as if they were its own. Raises
        ConfigurationError with the names that there are.
        """
        entry, offset = self._resolved(self._named(structure)), 0
        names = path.split(".")
        for depth, name in enumerate(names, start=1):
            found = self._member(entry, name)
            if found is None:
                have = ", ".join(sorted(self._members(entry)))
                raise ConfigurationError(
                    f"{self.source}: struct {structure} has no field {'.'.join(names[:depth])}; "
                    f"there are: {have or 'none'}"
                )
            member, at = found
            if depth == len(names):
                return self._field(member, offset + at)
            offset += at
            entry = self._resolved(member.get_DIE_from_attribute("DW_AT_type"))
        raise AssertionError("a path has at least one name")

    def _named(self, name: str) -> Any:
        try:
            return self._by_name[name]
        except KeyError:
            raise ConfigurationError(
                f"{self.source}: its DWARF defines no structure {name} in "
                f"{_name(self._unit.get_top_DIE())}"
            ) from None

    def _resolved(self, entry: Any) -> Any:
        for _ in range(_DEEPEST):
            if entry.tag not in _TRANSPARENT or "DW_AT_type" not in entry.attributes:
                break
            entry = entry.get_DIE_from_attribute("DW_AT_type")
        if entry.tag in _AGGREGATES and "DW_AT_byte_size" not in entry.attributes:
            return self._named(_name(entry))  # a declaration; the definition is elsewhere
        return entry

    def _members(self, entry: Any) -> dict[str, tuple[Any, int]]:
        found: dict[str, tuple[Any, int]] = {}
        for member in entry.iter_children():
            if member.tag != "DW_TAG_member":
                continue
            at = _location(member)
            if name := _name(member):
                found[name] = (member, at)
            else:
                inner = self._resolved(member.get_DIE_from_attribute("DW_AT_type"))
                within = self._members(inner)
                found |= {name: (deep, at + more) for name, (deep, more) in within.items()}
        return found

    def _member(self, entry: Any, name: str) -> tuple[Any, int] | None:
        return self._members(entry).get(name) if entry.tag in _AGGREGATES else None

    def _field(self, member: Any, offset: int) -> Field:
        if "DW_AT_bit_size" in member.attributes:
            bits = int(member.attributes["DW_AT_bit_size"].value)
            # DWARF 5, 5.7.6: counted from the beginning of the structure
            start = int(member.attributes["DW_AT_data_bit_offset"].value)
            shift = start % 8
            size = (shift + bits + 7) // 8
            return Field(offset + start // 8, size, shift, bits)
        kind = self._resolved(member.get_DIE_from_attribute("DW_AT_type"))
        return Field(offset, self._size_of(kind))

    def _size_of(self, kind: Any) -> int:
        if "DW_AT_byte_size" in kind.attributes:
            return int(kind.attributes["DW_AT_byte_size"].value)
        if kind.tag == "DW_TAG_pointer_type":
            return int(self._unit["address_size"])
        if kind.tag == "DW_TAG_array_type":
            element = self._resolved(kind.get_DIE_from_attribute("DW_AT_type"))
            many = 1
            for bounds in kind.iter_children():
                upper = bounds.attributes.get("DW_AT_upper_bound")
                many *= int(upper.value) + 1 if upper is not None else 0
            return many * self._size_of(element)
        return 0


def _name(entry: Any) -> str:
    attribute = entry.attributes.get("DW_AT_name")
    return "" if attribute is None else str(attribute.value.decode("utf-8", "replace"))


def _location(member: Any) -> int:
    attribute = member.attributes.get("DW_AT_data_member_location")
    return 0 if attribute is None else int(attribute.value)
