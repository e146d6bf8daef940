# SPDX-License-Identifier: BSD-2-Clause
"""What a host must have to build Linux, asked for in one message."""

import shlex
import shutil

from harness.errors import InfrastructureError
from harness.kernels.headers import has_header
from harness.kernels.kbuild.architecture import Architecture

_PROGRAMS = {
    "make": "make",
    "flex": "flex",
    "bison": "bison",
    "bc": "bc",
    "perl": "perl",
    "patch": "patch",
    "tar": "tar",
    "xz": "xz-utils",
    "gzip": "gzip",
    "cpio": "cpio",
    "find": "findutils",
    "gcc": "gcc",
}
_HEADERS = {
    "stdlib.h": "libc6-dev",
    "gelf.h": "libelf-dev",  # objtool
    "openssl/opensslv.h": "libssl-dev",  # certs/extract-cert, where a target asks for signatures
}


def require_tools(compiler: str, arch: Architecture) -> None:
    """Raises InfrastructureError naming all that is missing and the command that installs it."""
    if missing := missing_packages(compiler, arch):
        other = "\n  or name another compiler: `compiler` in the recipe, else the variable CC"
        raise InfrastructureError(
            "building a kernel needs what is not installed here: "
            + ", ".join(f"{what} ({package})" for what, package in missing.items())
            + "\n  apt-get install "
            + " ".join(sorted(set(missing.values())))
            + (other if shlex.split(compiler)[0] in missing else "")
        )


def missing_packages(compiler: str, arch: Architecture) -> dict[str, str]:
    """Programs and headers that are not there, each with Debian's package for it."""
    programs = dict(_PROGRAMS)
    program = shlex.split(compiler)[0]
    if "/" not in program:  # a path of the user's own is of no package
        programs.setdefault(program, _compiler_package(program, arch))
    programs[f"{arch.cross_compile}ld"] = "binutils"
    if arch.cross_compile:
        programs[f"{arch.cross_compile}ld"] = arch.cross_package
    missing = {name: package for name, package in programs.items() if shutil.which(name) is None}
    if "gcc" not in missing:  # libraries' headers are the host's, whatever the architecture
        missing |= {h: package for h, package in _HEADERS.items() if not has_header(h, "gcc")}
    return missing


def _compiler_package(program: str, arch: Architecture) -> str:
    """Debian's package for a compiler: gcc-12-aarch64-linux-gnu for aarch64-linux-gnu-gcc-12."""
    if not arch.cross_compile:
        return program
    return arch.cross_package.replace("gcc", program.removeprefix(arch.cross_compile), 1)
