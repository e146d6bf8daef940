# SPDX-License-Identifier: BSD-2-Clause
"""A GNU Mach kernel file of the user's own, looked at before anything is booted with it."""

import re
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from harness.errors import ConfigurationError, UsageError
from harness.files import file_hash
from harness.kernels.kernel import Kernel

_MACHINES = {"EM_X86_64": "x86_64", "EM_386": "i386"}
_BANNER = re.compile(rb"GNU Mach (\d[!-~]*)")


def own_gnumach(file: Path, arch: str) -> Kernel:
    """The kernel in an ELF file, as a build's `gnumach` is; `arch` is the harness's name.

    Raises UsageError where it is not there, ConfigurationError where it is no GNU Mach for `arch`.
    """
    if not file.is_file():
        raise UsageError(f"there is no kernel {file}")
    try:
        with file.open("rb") as opened:
            machine = ELFFile(opened)["e_machine"]
    except ELFError as error:
        raise ConfigurationError(
            f"{file}: expected GNU Mach's ELF file (a build's `gnumach`, not compressed): {error}"
        ) from error
    banner = _BANNER.search(file.read_bytes())
    if banner is None:
        raise ConfigurationError(f"{file} is no GNU Mach: it does not tell its release")
    found = _MACHINES.get(machine, machine)
    if found != arch:
        raise ConfigurationError(f"{file} is a kernel for {found}, and the guest is {arch}")
    release = banner[1].decode()
    return Kernel(f"{file.name} {release}", release, file_hash(file), file, None)
