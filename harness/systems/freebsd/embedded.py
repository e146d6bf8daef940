# SPDX-License-Identifier: BSD-2-Clause
"""A root image inside a kernel: where QEMU hands the kernel nothing but itself (arm64).

The kernel has room for it, of the size that MD_ROOT_SIZE in its configuration says
(sys/dev/md/md.c, `mfs_root`), as sys/tools/embed_mfs.sh fills it.
"""

import io
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from harness.errors import ConfigurationError

_ROOM = "mfs_root"
_LINUX_HEADER = b"ARM\x64"
_LINUX_MAGIC_OFFSET = 56
_FIRST = "kernbase"
"""The symbol of the image's first byte, which is the Linux header's."""
_COMPARED = 256


def with_root(image: bytes, elf: bytes, root: bytes, label: str) -> bytes:
    """The bootable image with `root` in its room; `elf` is the same kernel with symbols.

    Raises ConfigurationError where there is no room, or too little, or the two are not one kernel.
    """
    if image[_LINUX_MAGIC_OFFSET : _LINUX_MAGIC_OFFSET + 4] != _LINUX_HEADER:
        raise ConfigurationError(
            f"{label}: the kernel has no Linux boot header: it needs `options LINUX_BOOT_ABI`"
        )
    offset, size = _room(image, elf, label)
    if size < len(root):
        raise ConfigurationError(
            f"{label}: the root image has {len(root)} bytes, and the kernel room for {size}: "
            f"raise MD_ROOT_SIZE to {-(-len(root) // 1024)} (KiB) in its configuration"
        )
    if offset + size > len(image):
        raise ConfigurationError(f"{label}: image and symbols are not of one kernel")
    return image[:offset] + root + image[offset + len(root) :]


def embed(image: Path, elf: Path, root: Path, label: str) -> bytes:
    """`with_root` of files."""
    return with_root(image.read_bytes(), elf.read_bytes(), root.read_bytes(), label)


def _room(image: bytes, elf_bytes: bytes, label: str) -> tuple[int, int]:
    """Offset in the flat image, and size in bytes."""
    try:
        elf = ELFFile(io.BytesIO(elf_bytes))
        tables = [s for s in elf.iter_sections() if isinstance(s, SymbolTableSection)]
        found = {
            name: symbol
            for name in (_ROOM, _FIRST)
            for table in tables
            for symbol in table.get_symbol_by_name(name) or ()
        }
        text = elf.get_section_by_name(".text")
        beginning = text.data()[:_COMPARED] if text is not None else b""
        text_at = text["sh_addr"] if text is not None else 0
    except (ELFError, ValueError) as error:
        raise ConfigurationError(f"{label}: not a readable ELF file: {error}") from error
    if _ROOM not in found:
        raise ConfigurationError(
            f"{label}: the kernel has no room for a root (`{_ROOM}`): it needs `options "
            "MD_ROOT_SIZE=8192` (KiB) in its configuration"
        )
    first = found[_FIRST]["st_value"] if _FIRST in found else 0
    if not beginning or image[text_at - first :][: len(beginning)] != beginning:
        raise ConfigurationError(f"{label}: image and symbols are not of one kernel")
    return found[_ROOM]["st_value"] - first, found[_ROOM]["st_size"]
