# SPDX-License-Identifier: BSD-2-Clause
"""A FreeBSD kernel file of the user's own, looked at before anything is booted with it."""

import io
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from harness.errors import ConfigurationError, UsageError
from harness.files import file_hash, make_folder_once
from harness.kernels.kernel import Kernel
from harness.kernels.vmlinuz import is_arm64_image
from harness.systems.freebsd.boot import WITH_SYMBOLS

_MACHINES = {"EM_X86_64": "x86_64", "EM_AARCH64": "arm64"}


@dataclass(frozen=True)
class Need:
    """What a guest needs of a kernel: functions of which one is there with a line of the
    configuration and none without it, in releases 10 to 15; the line, and why."""

    functions: tuple[str, ...]
    line: str
    why: str


# in sys/vm/vm_page.c, behind #ifdef INVARIANTS: the first from 13 on, the other before
INVARIANTS = Need(
    ("vm_page_object_busy_assert", "vm_page_object_lock_assert"),
    "options INVARIANTS",
    "and INVARIANT_SUPPORT: without its assertions no symptom can show",
)
CHANNEL = Need(
    ("vtcon_modevent",),
    "device virtio_console",
    "the harness talks to a micro-guest by one, and a module comes too late",
)
_UFS = Need(("ffs_mount",), "options FFS", "the root is a UFS")
MICRO_GUEST = (
    INVARIANTS,
    CHANNEL,
    _UFS,
    Need(("mdstart_malloc",), "device md", "a micro-guest's root is a memory disk"),
)
FULL_IMAGE = (
    INVARIANTS,
    _UFS,
    Need(("g_part_gpt_read",), "options GEOM_PART_GPT", "the image has partitions"),
    Need(("msdosfs_mount",), "options MSDOSFS", "the image mounts /boot/efi as it starts"),
    Need(("vtblk_attach",), "device virtio_blk", "the image is its disk"),
    Need(("vtnet_attach",), "device vtnet", "the harness talks to a full image over SSH"),
)
_ARM64_ELF = "kernel.full"
_HEADER_BYTES = 64
_BANNER = re.compile(rb"FreeBSD (\d+\.\d+-[A-Z][!-~]*)")


def own_kernel(
    file: Path,
    arch: str,
    cache: Path,
    needs: Sequence[Need] = MICRO_GUEST,
    vmlinux: Path | None = None,
) -> Kernel:
    """The kernel in a file: amd64's ELF file, as /boot/kernel/kernel or a build's kernel.full is;
    for arm64 a build's kernel.bin, with its kernel.full beside it.

    `vmlinux` is the same build's ELF file with symbols and DWARF, where it is elsewhere or `file`
    has none. `arch` is the harness's name; the files are copied into the cache. Raises UsageError
    where one is not there; ConfigurationError where it is no FreeBSD kernel for `arch`, has no
    symbols, or is built without one of `needs`.
    """
    elf = vmlinux or (file.with_name(_ARM64_ELF) if arch == "arm64" else file)
    for needed in (file, elf):
        if not needed.is_file():
            named = needed in (file, vmlinux)
            beside = "" if named else " (the same kernel's ELF file, beside kernel.bin)"
            raise UsageError(f"there is no kernel {needed}{beside}")
    if arch == "arm64" and not is_arm64_image(file.read_bytes()[:_HEADER_BYTES]):
        raise ConfigurationError(
            f"{file} is not what QEMU boots on arm64: give the build's kernel.bin, of a kernel "
            "with `options LINUX_BOOT_ABI`"
        )
    release = _look_at(elf, arch, needs)
    if elf != file and not _same_build(file, elf):
        raise ConfigurationError(
            f"{elf} is not of the same build as {file}: its symbols would be elsewhere"
        )
    identity = file_hash(file)
    kept = cache / "kernels" / f"own-freebsd-{identity[:16]}-{file_hash(elf)[:16]}"

    def fill(into: Path) -> None:
        shutil.copyfile(file, into / "image")
        shutil.copyfile(elf, into / WITH_SYMBOLS)

    make_folder_once(kept, fill)
    return Kernel(f"{file.name} {release}", release, identity, kept / "image", None)


def _same_build(image: Path, elf: Path) -> bool:
    """Whether the ELF file's code stands in the image, as objcopy(1) leaves it there."""
    with elf.open("rb") as file:
        text = ELFFile(file).get_section_by_name(".text")
        code = text.data() if text is not None else b""
    return bool(code) and code in image.read_bytes()


def _look_at(file: Path, arch: str, needs: Sequence[Need]) -> str:
    """The kernel's release, if the ELF file is one that a guest can be booted with."""
    data = file.read_bytes()
    try:
        elf = ELFFile(io.BytesIO(data))
        machine = _MACHINES.get(elf["e_machine"], str(elf["e_machine"]))
        table = elf.get_section_by_name(".symtab")
        symbols = table if isinstance(table, SymbolTableSection) else None
        lacking = [
            need for need in needs
            if symbols is not None and not any(map(symbols.get_symbol_by_name, need.functions))
        ]  # fmt: skip
    except ELFError as error:
        raise ConfigurationError(
            f"{file}: expected a FreeBSD kernel's ELF file (/boot/kernel/kernel, or a build's "
            f"kernel.full): {error}"
        ) from error
    banner = _BANNER.search(data)
    if banner is None:
        raise ConfigurationError(f"{file} is no FreeBSD kernel: it does not tell its release")
    if machine != arch:
        raise ConfigurationError(f"{file} is a kernel for {machine}, and the guest is {arch}")
    if symbols is None:
        raise ConfigurationError(
            f"{file} has no symbols: whether it has INVARIANTS cannot be told, and no place be "
            "found; give the file as the build leaves it (kernel.full)"
        )
    if lacking:
        raise ConfigurationError(
            f"{file} is built without what a guest of the harness needs:\n"
            + "\n".join(f"  `{need.line}` {need.why}" for need in lacking)
            + "\nbuild it with that in its configuration, or leave the build to the harness "
            "(--source TREE; in a recipe, a `source` table)"
        )
    return banner[1].decode()
