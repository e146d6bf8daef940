# SPDX-License-Identifier: BSD-2-Clause
"""Symbols of a kernel or program: addresses by name, and names by address."""

import difflib
import io
import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from harness.errors import ConfigurationError

_TEXT_KINDS = frozenset("tTwWi")

# What GCC and Clang append to a function that they specialised: such a clone stands in for the
# function. `.cold` is no function of its own but the unlikely part of one.
_CLONE = re.compile(r"\.(?:isra|constprop|part|llvm|lto_priv)\.\d+")
_COLD = re.compile(r"\.cold(?:\.\d+)?")

# ELF mapping symbols (arm64: $x, $d) and the compiler's local labels name no place.
_ELF_MAGIC = b"\x7fELF"
_NO_PLACE = re.compile(r"\$[a-z](?:\.|$)|\.L")

_MANY = 8


class Symbol(NamedTuple):
    """One symbol: virtual address, nm's type letter, name, module (None: the kernel itself).

    `size` is in bytes; 0 where the source does not say (kallsyms).
    """

    address: int
    kind: str
    name: str
    module: str | None = None
    size: int = 0

    @property
    def is_text(self) -> bool:
        """Whether it names code."""
        return self.kind in _TEXT_KINDS


@dataclass(frozen=True)
class SymbolTable:
    """All symbols of one kernel (its modules too) or program; `source` names where from.

    Duplicates (static functions of one name) are kept. Lookups of a name raise
    ConfigurationError with the nearest names if there is none.
    """

    symbols: tuple[Symbol, ...]
    source: str

    @classmethod
    def read(cls, data: bytes, source: str) -> "SymbolTable":
        """Read symbols of either format: an ELF executable, or else the text of /proc/kallsyms.

        Raises ConfigurationError as `from_elf` and `from_kallsyms` do.
        """
        read = cls.from_elf if data.startswith(_ELF_MAGIC) else cls.from_kallsyms
        return read(data, source)

    @classmethod
    def from_kallsyms(cls, data: bytes, source: str = "kallsyms") -> "SymbolTable":
        """Read the text of /proc/kallsyms: `address kind name [module]` a line.

        Raises ConfigurationError for a line of another form, for no lines, and for addresses
        hidden by kptr_restrict.
        """
        symbols: list[Symbol] = []
        for number, line in enumerate(data.decode("ascii", "replace").splitlines(), start=1):
            fields = line.split()
            if not fields:
                continue
            try:
                address, kind, name = int(fields[0], 16), fields[1], fields[2]
            except (ValueError, IndexError):
                raise ConfigurationError(
                    f"{source}:{number}: expected 'address type name [module]', found {line!r}"
                ) from None
            module = fields[3].strip("[]") if len(fields) > 3 else None
            if not _NO_PLACE.match(name):
                symbols.append(Symbol(address, kind, name, module))
        if not symbols:
            raise ConfigurationError(f"{source}: no symbols in {len(data)} bytes of kallsyms")
        if not any(symbol.address for symbol in symbols):
            raise ConfigurationError(
                f"{source}: every address is 0: read kallsyms as root with kernel.kptr_restrict=0"
            )
        return cls(tuple(symbols), source)

    @classmethod
    def from_elf(cls, data: bytes, source: str = "ELF file") -> "SymbolTable":
        """Read the symbol table of an ELF executable (its dynamic one if it has no other).

        Raises ConfigurationError if the bytes are no ELF file or it is stripped.
        """
        try:
            elf = ELFFile(io.BytesIO(data))
            symbols = tuple(_elf_symbols(elf))
        except ELFError as error:
            raise ConfigurationError(f"{source}: not a readable ELF file: {error}") from error
        if not symbols:
            raise ConfigurationError(
                f"{source}: the ELF file has no symbols: it is stripped; give the unstripped file"
            )
        return cls(symbols, source)

    def named(self, name: str, module: str | None = None) -> tuple[Symbol, ...]:
        """The symbols of exactly that name in that module; empty if there is none."""
        return tuple(s for s in self._by_name.get(name, ()) if s.module == module)

    def everywhere(self, name: str) -> tuple[Symbol, ...]:
        """The symbols of exactly that name in the kernel and all modules."""
        return tuple(self._by_name.get(name, ()))

    def functions(self, name: str, module: str | None = None) -> tuple[Symbol, ...]:
        """The functions of that name, one an address; without any, the compiler's clones of it.

        Clones are `name.isra.0`, `name.constprop.0`, `name.part.0` and combinations.
        """
        exact = [s for s in self.named(name, module) if s.is_text]
        return _one_an_address(exact) or self.clones(name, module)

    def clones(self, name: str, module: str | None = None) -> tuple[Symbol, ...]:
        """The specialised copies of a function, one an address (not its cold part)."""
        return _one_an_address([s for s in self._suffixed(name, _CLONE) if s.module == module])

    def functions_anywhere(self, name: str) -> tuple[Symbol, ...]:
        """The functions of that name, and clones of it, in the kernel and all modules."""
        exact = [s for s in self._by_name.get(name, ()) if s.is_text]
        return _one_an_address([*exact, *self._suffixed(name, _CLONE)])

    def cold_parts(self, name: str, module: str | None = None) -> tuple[Symbol, ...]:
        """The pieces of a function that the compiler moved away as unlikely."""
        return _one_an_address([s for s in self._suffixed(name, _COLD) if s.module == module])

    def function(self, name: str, module: str | None = None) -> Symbol:
        """The one function of that name (or its one clone).

        Raises ConfigurationError with the nearest names if there is none, with the addresses if
        there are several, and with the module's name if it is elsewhere.
        """
        found = self.functions(name, module)
        if len(found) == 1:
            return found[0]
        shown = f"{module}!{name}" if module else name
        if found:
            places = ", ".join(f"{s.name} at {s.address:#x}" for s in found[:_MANY])
            raise ConfigurationError(
                f"place {shown}: {len(found)} functions in {self.source} have this name "
                f"({places}); say which by file.c:line or by address"
            )
        raise ConfigurationError(
            f"place {shown}: no such function in {self.source}{self._why_missing(name, module)}"
        )

    def address_of(self, name: str, module: str | None = None) -> int:
        """The virtual address of a function, or of data if no function has the name.

        Raises ConfigurationError as `function` does.
        """
        if not self.functions(name, module):
            found = {symbol.address for symbol in self.named(name, module)}
            if len(found) == 1:
                return found.pop()
        return self.function(name, module).address

    def extent(self, name: str, module: str | None = None) -> tuple[int, int]:
        """The first address of a function and the first one behind it.

        Raises ConfigurationError as `function` does.
        """
        return self.extent_of(self.function(name, module))

    def extent_of(self, symbol: Symbol) -> tuple[int, int]:
        """The first address of a function's symbol and the first one behind it.

        Where the source has no sizes, the next higher code symbol is the end; padding is within.
        """
        if symbol.size:
            return symbol.address, symbol.address + symbol.size
        if self.is_last(symbol):
            raise ConfigurationError(
                f"{self.source}: {symbol.name} is the last symbol: where it ends is not known"
            )
        at = bisect_right(self._text_addresses, symbol.address)
        return symbol.address, self._text_addresses[at]

    def is_last(self, symbol: Symbol) -> bool:
        """Whether no other code symbol, nor a size, tells where a function ends."""
        return not symbol.size and symbol.address >= self._text_addresses[-1]

    def function_at(self, address: int) -> tuple[str, int]:
        """The function that holds an address and the offset in it, in bytes.

        Raises ConfigurationError if the address is below all functions or behind a sized one.
        """
        found = self.find(address)
        if found is None:
            raise ConfigurationError(f"{self.source}: no function holds address {address:#x}")
        return found[0].name, found[1]

    def find(self, address: int) -> tuple[Symbol, int] | None:
        """The code symbol that holds an address and the offset in it, or None."""
        at = bisect_right(self._text_addresses, address) - 1
        if at < 0:
            return None
        symbol = self._preferred(self._text_addresses[at])
        offset = address - symbol.address
        if symbol.size and offset >= symbol.size:
            return None
        return symbol, offset

    def at(self, address: int) -> tuple[Symbol, ...]:
        """All code symbols at exactly an address (aliases)."""
        start = bisect_left(self._text_addresses_all, address)
        stop = bisect_right(self._text_addresses_all, address)
        return self._text[start:stop]

    def nearest(self, name: str, many: int = 5) -> tuple[str, ...]:
        """Names of functions that look most like a name, best first."""
        names = {s.name: (s.module or "") for s in self.symbols if s.is_text}
        related = sorted(n for n in names if n.startswith(name + ".") or n.endswith("_" + name))
        # difflib over 50,000 names takes seconds: names that share the beginning come first
        stem = name[:4]
        pool = [n for n in names if n.startswith(stem) or name in n]
        close = difflib.get_close_matches(name, pool, many, 0.7)
        if len(close) < many:
            rest = [n for n in names if abs(len(n) - len(name)) <= 3 and n[:1] != "."]
            close += difflib.get_close_matches(name, rest, many, 0.8)
        containing = sorted((n for n in pool if name in n), key=len)
        contained = sorted((n for n in pool if len(n) > 5 and name.startswith(n)), key=len)[::-1]
        ordered = dict.fromkeys([*related[:many], *close, *containing, *contained])
        ordered.pop(name, None)
        shown = [f"{names[n]}!{n}" if names[n] else n for n in ordered]
        return tuple(shown[:many])

    def _why_missing(self, name: str, module: str | None) -> str:
        elsewhere = sorted(
            {s.module or "" for s in self._by_name.get(name, ()) if s.module != module}
        )
        if elsewhere:
            written = " or ".join(f"{m}!{name}" if m else name for m in elsewhere)
            return f"; it is elsewhere: write {written}"
        if module is not None and all(s.module != module for s in self.symbols):
            return f": it knows no module {module}: is it loaded when the symbols are read?"
        if self.named(name, module):
            return ": the name is data, not a function"
        cold = self.cold_parts(name, module)
        if cold:
            return f": only its unlikely part {cold[0].name} is left, the rest was inlined"
        near = self.nearest(name)
        hint = f"; nearest: {', '.join(near)}" if near else ""
        return f": it is inlined everywhere, or the name is wrong{hint}"

    def _suffixed(self, name: str, suffix: re.Pattern[str]) -> list[Symbol]:
        start = bisect_left(self._names, name + ".")
        found: list[Symbol] = []
        for candidate in self._names[start:]:
            if not candidate.startswith(name + "."):
                break
            rest = candidate[len(name) :]
            clones_stripped = _CLONE.sub("", rest)
            is_cold = bool(_COLD.fullmatch(clones_stripped))
            if (suffix is _COLD and is_cold) or (suffix is _CLONE and not clones_stripped):
                found += [s for s in self._by_name[candidate] if s.is_text]
        return found

    def _preferred(self, address: int) -> Symbol:
        """Of several names for one address the global one, then the first."""
        return min(self.at(address), key=lambda s: (s.kind not in "TW", s.kind == "W"))

    @cached_property
    def _by_name(self) -> dict[str, list[Symbol]]:
        index: dict[str, list[Symbol]] = {}
        for symbol in self.symbols:
            index.setdefault(symbol.name, []).append(symbol)
        return index

    @cached_property
    def _names(self) -> list[str]:
        return sorted(self._by_name)

    @cached_property
    def _text(self) -> tuple[Symbol, ...]:
        return tuple(sorted((s for s in self.symbols if s.is_text), key=lambda s: s.address))

    @cached_property
    def _text_addresses_all(self) -> list[int]:
        return [symbol.address for symbol in self._text]

    @cached_property
    def _text_addresses(self) -> list[int]:
        every = self._text_addresses_all
        return every[:1] + [b for a, b in pairwise(every) if a != b]


def _one_an_address(symbols: list[Symbol]) -> tuple[Symbol, ...]:
    return tuple({s.address: s for s in sorted(symbols, reverse=True)}.values())[::-1]


def _elf_symbols(elf: ELFFile) -> list[Symbol]:
    tables = [s for s in elf.iter_sections() if isinstance(s, SymbolTableSection)]
    static = [t for t in tables if t["sh_type"] == "SHT_SYMTAB"]
    executable = {
        index
        for index, s in enumerate(elf.iter_sections())
        if s["sh_flags"] & 0x4  # SHF_EXECINSTR
    }
    found: list[Symbol] = []
    for table in static or tables:
        for symbol in table.iter_symbols():
            section = symbol["st_shndx"]
            info = symbol["st_info"]
            if not symbol.name or not isinstance(section, int) or _NO_PLACE.match(symbol.name):
                continue
            if info["type"] in ("STT_FILE", "STT_SECTION", "STT_TLS"):
                continue
            letter = "t" if section in executable else "d"
            if info["bind"] == "STB_WEAK":
                letter = "w" if letter == "t" else "v"
            if info["bind"] != "STB_LOCAL":
                letter = letter.upper()
            found.append(Symbol(symbol["st_value"], letter, symbol.name, size=symbol["st_size"]))
    return found
