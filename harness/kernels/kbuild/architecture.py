# SPDX-License-Identifier: BSD-2-Clause
"""What differs between architectures when Linux is built."""

import platform
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ConfigurationError


@dataclass(frozen=True)
class Architecture:
    """One architecture of the kernel's build; `host` is what uname(2) calls a host of that kind."""

    kbuild: str
    """ARCH= of the kernel's Makefile."""
    goal: str
    image: str
    host: str
    cross_prefix: str
    cross_package: str
    base: Path

    @property
    def folder(self) -> str:
        """Its part of the kernel's arch/."""
        return "x86" if self.kbuild == "x86_64" else self.kbuild

    @property
    def cross_compile(self) -> str:
        """CROSS_COMPILE= of the kernel's Makefile; empty on a host of the same kind."""
        return "" if platform.machine() == self.host else self.cross_prefix


_FOLDER = Path(__file__).parent

_ARCHITECTURES = {
    "x86_64": Architecture(
        kbuild="x86_64",
        goal="bzImage",
        image="arch/x86/boot/bzImage",
        host="x86_64",
        cross_prefix="x86_64-linux-gnu-",
        cross_package="gcc-x86-64-linux-gnu",
        base=_FOLDER / "base-x86_64.config",
    ),
    "arm64": Architecture(
        kbuild="arm64",
        goal="Image",
        image="arch/arm64/boot/Image",
        host="aarch64",
        cross_prefix="aarch64-linux-gnu-",
        cross_package="gcc-aarch64-linux-gnu",
        base=_FOLDER / "base-arm64.config",
    ),
    "ppc64le": Architecture(
        kbuild="powerpc",
        goal="vmlinux",
        image="vmlinux",
        host="ppc64le",
        cross_prefix="powerpc64le-linux-gnu-",
        cross_package="gcc-powerpc64le-linux-gnu",
        base=_FOLDER / "base-ppc64le.config",
    ),
}


def architecture(name: str) -> Architecture:
    """By the harness's name. Raises ConfigurationError for one that has no base configuration."""
    try:
        return _ARCHITECTURES[name]
    except KeyError:
        raise ConfigurationError(
            f"kernels for {name} are not built from source, only those for "
            f"{', '.join(_ARCHITECTURES)}; name a package instead"
        ) from None
