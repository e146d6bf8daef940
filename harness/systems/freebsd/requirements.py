# SPDX-License-Identifier: BSD-2-Clause
"""What a host must have to build FreeBSD kernels, asked for in one message."""

import shutil

from harness.errors import InfrastructureError
from harness.kernels.headers import has_header

_PROGRAMS = {
    "cc": "gcc",
    "c++": "g++",
    "cpp": "cpp",
    "patch": "patch",
    "tar": "tar",
    "strip": "binutils",
    "xz": "xz-utils",
}
"""Of the host, for the tree's own tools; Debian's packages."""
_HEADERS = {"stdlib.h": "libc6-dev", "archive.h": "libarchive-dev", "zlib.h": "zlib1g-dev"}


def require_tools() -> None:
    """Raises InfrastructureError naming all that is missing and the command that installs it.

    clang and lld are asked for by `find_clang`.
    """
    missing = {name: package for name, package in _PROGRAMS.items() if shutil.which(name) is None}
    if "cc" not in missing:
        missing |= {name: package for name, package in _HEADERS.items() if not has_header(name)}
    if missing:
        raise InfrastructureError(
            "building a FreeBSD kernel needs what is not installed here: "
            + ", ".join(f"{what} ({package})" for what, package in missing.items())
            + "\n  apt-get install "
            + " ".join(sorted(set(missing.values())))
        )
