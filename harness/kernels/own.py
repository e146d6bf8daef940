# SPDX-License-Identifier: BSD-2-Clause
"""A kernel file of the user's own: bzImage, Image or vmlinux."""

import io
import re
from mmap import ACCESS_READ, mmap
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from harness.errors import ConfigurationError, UsageError
from harness.files import file_hash
from harness.kernels.kernel import Kernel
from harness.kernels.vmlinuz import ELF_MAGIC, extract_vmlinux, is_arm64_image

_MACHINES = {
    "EM_X86_64": "x86_64", "EM_386": "i386", "EM_AARCH64": "arm64", "EM_PPC64": "ppc64le",
}  # fmt: skip
_BANNER = re.compile(rb"Linux version (\d[!-~]*)[^\0\n]*")


def own_kernel(
    file: Path, modules: Path | None, arch: str, vmlinux_file: Path | None = None
) -> Kernel:
    """The kernel in a file; `modules` is its folder lib/modules/RELEASE, if it has any.

    `vmlinux_file` is the same build as an ELF file; without it the one that make has left at the
    top of the tree, if the kernel lies where make has put it (arch/x86/boot/bzImage).

    Raises UsageError where a path is not there, ConfigurationError where the file is no kernel, or
    one that a guest of `arch` does not boot.
    """
    if not file.is_file():
        raise UsageError(f"there is no kernel {file}")
    if modules is not None and not modules.is_dir():
        raise UsageError(f"there is no folder of modules {modules}")
    data = file.read_bytes()
    try:
        vmlinux = extract_vmlinux(data)
    except ConfigurationError as error:
        raise ConfigurationError(f"{file}: {error}") from error
    found = _arch_of(vmlinux, file)
    if found != arch:
        raise ConfigurationError(f"{file} is a kernel for {found}, and the guest is {arch}")
    if arch == "arm64" and data.startswith(ELF_MAGIC):
        raise ConfigurationError(
            f"{file} is an ELF file, which arm64 machines do not boot: give arch/arm64/boot/Image"
        )
    banner = _BANNER.search(vmlinux)
    release = banner.group(1).decode() if banner else file.name
    if modules is not None and banner and modules.resolve().name != release:
        raise ConfigurationError(
            f"{modules} is not of {file}, which is Linux {release}: modules of another build do "
            "not load"
        )
    return Kernel(
        f"{file.name} {release}",
        release,
        file_hash(file),
        file,
        modules,
        vmlinux=_vmlinux_of(file, data, banner, vmlinux_file),
    )


def _vmlinux_of(
    file: Path, data: bytes, banner: re.Match[bytes] | None, named: Path | None
) -> Path | None:
    if named is not None:
        if not named.is_file():
            raise UsageError(f"there is no vmlinux {named}")
        if not _same_build(named, banner):
            raise ConfigurationError(
                f"{named} is not of the same build as {file}: its places would be elsewhere"
            )
        return named
    if data.startswith(ELF_MAGIC):
        return file
    above = file.resolve().parents
    beside = above[3] / "vmlinux" if len(above) > 3 and above[0].name == "boot" else None
    return beside if beside is not None and _same_build(beside, banner) else None


def _same_build(vmlinux: Path, banner: re.Match[bytes] | None) -> bool:
    """Whether it says the same of itself (init/version.c: linux_banner), its build's time too."""
    if banner is None or not vmlinux.is_file():
        return False
    with vmlinux.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        return content.find(banner.group()) >= 0


def _arch_of(vmlinux: bytes, file: Path) -> str:
    if is_arm64_image(vmlinux):
        return "arm64"
    try:
        machine = ELFFile(io.BytesIO(vmlinux)).header["e_machine"]
    except ELFError as error:
        raise ConfigurationError(f"{file}: the kernel inside is damaged: {error}") from error
    return _MACHINES.get(machine, str(machine))
