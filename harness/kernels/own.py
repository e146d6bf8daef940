# SPDX-License-Identifier: BSD-2-Clause
"""A kernel file of the user's own: bzImage, Image or vmlinux."""

import io
import re
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
_BANNER = re.compile(rb"Linux version (\d[!-~]*)")


def own_kernel(file: Path, modules: Path | None, arch: str) -> Kernel:
    """The kernel in a file; `modules` is its folder lib/modules/RELEASE, if it has any.

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
    return Kernel(f"{file.name} {release}", release, file_hash(file), file, modules)


def _arch_of(vmlinux: bytes, file: Path) -> str:
    if is_arm64_image(vmlinux):
        return "arm64"
    try:
        machine = ELFFile(io.BytesIO(vmlinux)).header["e_machine"]
    except ELFError as error:
        raise ConfigurationError(f"{file}: the kernel inside is damaged: {error}") from error
    return _MACHINES.get(machine, str(machine))
