# SPDX-License-Identifier: BSD-2-Clause
"""The bytes of a kernel or program by virtual address."""

import io
from dataclasses import dataclass

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from harness.errors import ConfigurationError
from harness.kernels.vmlinuz import extract_vmlinux, is_arm64_image
from harness.places.symbols import SymbolTable

_ARCHES = {
    ("EM_X86_64", True): "x86_64",
    ("EM_386", True): "i386",
    ("EM_AARCH64", True): "arm64",
    ("EM_PPC64", True): "ppc64le",
}


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
        machine = elf["e_machine"]
        arch = _ARCHES.get((machine, bool(elf.little_endian)))
        if arch is None:
            raise ConfigurationError(
                f"{source}: an ELF file for {machine}; expected one of "
                f"{', '.join(_ARCHES.values())} (little-endian)"
            )
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

        Raises ConfigurationError if the bytes are no raw Image or `_text` is not known.
        """
        if not is_arm64_image(data):
            raise ConfigurationError(f"{source}: expected a raw arm64 Image")
        return cls((Segment(symbols.address_of("_text"), data),), "arm64", source)

    @classmethod
    def from_file_bytes(cls, data: bytes, symbols: SymbolTable, source: str) -> "KernelImage":
        """Take any kernel file that `extract_vmlinux` reads; `symbols` as for a raw Image.

        Raises ConfigurationError as `extract_vmlinux`, `from_elf` and `from_arm64_image` do.
        """
        kernel = extract_vmlinux(data)
        if is_arm64_image(kernel):
            return cls.from_arm64_image(kernel, symbols, source)
        return cls.from_elf(kernel, source)

    def read(self, address: int, size: int) -> bytes:
        """The `size` bytes at a virtual address.

        Raises ConfigurationError if the image does not have all of them.
        """
        for segment in self.segments:
            if segment.address <= address and address + size <= segment.end:
                start = address - segment.address
                return segment.data[start : start + size]
        raise ConfigurationError(
            f"{self.source}: no {size} bytes at {address:#x}: do the symbols belong to this image, "
            "and was the kernel booted with nokaslr when they were read?"
        )
