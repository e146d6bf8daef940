# SPDX-License-Identifier: BSD-2-Clause
"""The bytes of a kernel or program by virtual address."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from harness.errors import ConfigurationError
from harness.kernels.vmlinuz import decompressed, extract_vmlinux, is_arm64_image
from harness.places.disassemble import Flow, disassemble
from harness.places.symbols import SymbolTable

_ARCHES = {
    ("EM_X86_64", True): "x86_64",
    ("EM_386", True): "i386",
    ("EM_AARCH64", True): "arm64",
    ("EM_PPC64", True): "ppc64le",
}

# Relocations of calls and jumps, by the processor supplements of the ELF ABI: PC32, PLT32;
# JUMP26, CALL26; REL24. The addend of x86 counts from the field, four bytes before the next
# instruction.
_BRANCH_RELOCATIONS: dict[str, dict[int, int]] = {
    "x86_64": {2: 4, 4: 4},
    "i386": {2: 4, 4: 4},
    "arm64": {282: 0, 283: 0},
    "ppc64le": {10: 0},
}
_SHF_ALLOC, _SHF_EXECINSTR = 0x2, 0x4


@dataclass(frozen=True)
class Segment:
    """Bytes that the image has at a virtual address."""

    address: int
    data: bytes

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.address + len(self.data)


@dataclass(frozen=True)
class LoadedModule:
    """Where a module's code sections are: addresses by the section's index and by its name."""

    by_index: Mapping[int, int]
    by_name: Mapping[str, int]


@dataclass(frozen=True)
class KernelImage:
    """An image's bytes as its build linked them (so for a kernel booted with `nokaslr`).

    `arch` is "x86_64", "i386", "arm64" or "ppc64le"; `source` names the file for messages.
    The bytes are those of the file: what a kernel patches in itself at boot (alternatives, static
    calls, jump labels, ftrace's entry calls) stands as it was linked, at the same addresses.
    """

    segments: tuple[Segment, ...]
    arch: str
    source: str
    is_relocatable: bool = False
    """Whether it is a position-independent executable, loaded at another address each time."""
    branch_targets: Mapping[int, int] = field(default_factory=dict)
    """Where calls and jumps of modules go, by the address of the field that a loader fills in."""
    modules: Mapping[str, "LoadedModule"] = field(default_factory=dict)
    """The modules whose code is there."""

    @classmethod
    def from_elf(cls, data: bytes, source: str = "ELF file") -> "KernelImage":
        """Take the loadable segments of an ELF executable.

        Raises ConfigurationError if it is no ELF executable of a known architecture.
        """
        try:
            elf = ELFFile(io.BytesIO(data))
            segments = tuple(
                Segment(s["p_vaddr"], s.data())
                for s in elf.iter_segments("PT_LOAD")
                if s["p_filesz"]
            )
        except ELFError as error:
            raise ConfigurationError(f"{source}: not a readable ELF file: {error}") from error
        arch = _arch_of(elf, source)
        if not segments:
            raise ConfigurationError(
                f"{source}: nothing loadable in the ELF file; expected an executable or vmlinux, "
                f"found {elf['e_type']}"
            )
        return cls(segments, arch, source, is_relocatable=elf["e_type"] == "ET_DYN")

    @classmethod
    def from_arm64_image(
        cls, data: bytes, symbols: SymbolTable, source: str = "arm64 Image"
    ) -> "KernelImage":
        """Take a raw arm64 Image, whose first byte is at the symbol `_text`.

        Raises ConfigurationError if the bytes are no raw Image or where it is linked is not known.
        """
        if not is_arm64_image(data):
            raise ConfigurationError(f"{source}: expected a raw arm64 Image")
        return cls((Segment(_arm64_base(data, symbols, source), data),), "arm64", source)

    @classmethod
    def from_file_bytes(cls, data: bytes, symbols: SymbolTable, source: str) -> "KernelImage":
        """Take any kernel file that `extract_vmlinux` reads; `symbols` as for a raw Image.

        Raises ConfigurationError as `extract_vmlinux`, `from_elf` and `from_arm64_image` do.
        """
        kernel = extract_vmlinux(data)
        if is_arm64_image(kernel):
            return cls.from_arm64_image(kernel, symbols, source)
        return cls.from_elf(kernel, source)

    def with_module(self, data: bytes, module: str, symbols: SymbolTable) -> "KernelImage":
        """This image and the code of a loaded module, from its .ko file (compressed or not).

        `symbols` are of a running kernel that has loaded the module: they say where its sections
        are. Sections of which no symbol is known (code for loading, freed since) are left out.
        Raises ConfigurationError if the file is no relocatable ELF file of this architecture, or
        none of its functions is in `symbols`.
        """
        source = f"module {module}"
        try:
            elf = ELFFile(io.BytesIO(decompressed(data)))
            if elf["e_type"] != "ET_REL":
                raise ConfigurationError(f"{source}: expected a .ko file, found {elf['e_type']}")
            arch = _arch_of(elf, source)
            bases = _section_bases(elf, module, symbols)
            segments = tuple(
                Segment(base, elf.get_section(index).data()) for index, base in bases.items()
            )
            targets = dict(_branch_targets(elf, arch, bases, symbols))
            names = {str(elf.get_section(index).name): base for index, base in bases.items()}
        except ELFError as error:
            raise ConfigurationError(f"{source}: not a readable ELF file: {error}") from error
        if arch != self.arch:
            raise ConfigurationError(f"{source}: built for {arch}, the kernel for {self.arch}")
        if not segments:
            raise ConfigurationError(
                f"{source}: none of its functions is in {symbols.source}: read the symbols while "
                "it is loaded, and give the file that was loaded"
            )
        return replace(
            self,
            segments=self.segments + segments,
            branch_targets={**self.branch_targets, **targets},
            modules={**self.modules, module: LoadedModule(bases, names)},
        )

    def segment_at(self, address: int) -> Segment | None:
        """The segment that holds a virtual address, or None."""
        return next((s for s in self.segments if s.address <= address < s.end), None)

    def has(self, address: int, size: int) -> bool:
        """Whether all of the `size` bytes at a virtual address are in the image."""
        segment = self.segment_at(address)
        return segment is not None and address + size <= segment.end

    def read(self, address: int, size: int) -> bytes:
        """The `size` bytes at a virtual address.

        Raises ConfigurationError if the image does not have all of them.
        """
        segment = self.segment_at(address)
        if segment is not None and address + size <= segment.end:
            start = address - segment.address
            return segment.data[start : start + size]
        raise ConfigurationError(
            f"{self.source}: no {size} bytes at {address:#x}: do the symbols belong to this image, "
            "and was the kernel booted with nokaslr when they were read?"
        )


def _arm64_base(data: bytes, symbols: SymbolTable, source: str) -> int:
    """Where the Image's first byte is linked.

    kallsyms has `_text` only with CONFIG_KALLSYMS_ALL; without it the branch that the header
    begins with tells (arch/arm64/kernel/head.S, efi-header.S: `b primary_entry`, `b stext` before
    5.8).
    """
    base = symbols.named("_text")
    if base:
        return base[0].address
    branch = next(
        (
            insn
            for insn in disassemble("arm64", data[:8], 0)
            if insn.flow is Flow.JUMP and insn.target is not None
        ),
        None,
    )
    entry = symbols.functions("primary_entry") or symbols.functions("stext")
    if branch is None or branch.target is None or not entry:
        raise ConfigurationError(
            f"{source}: where it is linked is not known: {symbols.source} has neither _text nor "
            "the primary_entry (stext) that the Image's header jumps to"
        )
    return entry[0].address - branch.target


def _arch_of(elf: Any, source: str) -> str:
    machine = elf["e_machine"]
    arch = _ARCHES.get((machine, bool(elf.little_endian)))
    if arch is None:
        raise ConfigurationError(
            f"{source}: an ELF file for {machine}; expected one of "
            f"{', '.join(_ARCHES.values())} (little-endian)"
        )
    return arch


def _section_bases(elf: Any, module: str, symbols: SymbolTable) -> dict[int, int]:
    """The address of each code section, by its index, told by a function in it."""
    bases: dict[int, int] = {}
    table = elf.get_section_by_name(".symtab")
    for symbol in table.iter_symbols() if table else ():
        index = symbol["st_shndx"]
        if not isinstance(index, int) or index in bases or not symbol.name:
            continue
        wanted = _SHF_ALLOC | _SHF_EXECINSTR
        if elf.get_section(index)["sh_flags"] & wanted != wanted:
            continue
        known = {s.address for s in symbols.named(symbol.name, module) if s.is_text}
        if len(known) == 1:  # several static functions of one name tell nothing
            bases[index] = known.pop() - symbol["st_value"]
    return bases


def _branch_targets(
    elf: Any, arch: str, bases: Mapping[int, int], symbols: SymbolTable
) -> Iterator[tuple[int, int]]:
    for section in elf.iter_sections():
        if section["sh_type"] not in ("SHT_RELA", "SHT_REL") or section["sh_info"] not in bases:
            continue
        base = bases[section["sh_info"]]
        code = elf.get_section(section["sh_info"]).data()
        table = elf.get_section(section["sh_link"])
        for relocation in section.iter_relocations():
            bias = _BRANCH_RELOCATIONS[arch].get(relocation["r_info_type"])
            if bias is None:
                continue
            offset = relocation["r_offset"]
            if section["sh_type"] == "SHT_RELA":
                addend = relocation["r_addend"]
            else:  # i386 keeps the addend in the code
                addend = int.from_bytes(code[offset : offset + 4], "little", signed=True)
            start = _symbol_address(table.get_symbol(relocation["r_info_sym"]), bases, symbols)
            if start is not None:
                yield base + offset, start + addend + bias


def _symbol_address(symbol: Any, bases: Mapping[int, int], symbols: SymbolTable) -> int | None:
    index = symbol["st_shndx"]
    if isinstance(index, int):
        return bases[index] + int(symbol["st_value"]) if index in bases else None
    named = [s for s in symbols.everywhere(symbol.name) if s.is_text]
    # of modules the kernel says `t` of exported functions too
    exported = {s.address for s in named if s.kind in "TW"} or {
        s.address for s in named if symbols.named(f"__ksymtab_{s.name}", s.module)
    }
    return exported.pop() if len(exported) == 1 else None
