# SPDX-License-Identifier: BSD-2-Clause
"""What differs between FreeBSD's architectures when kernels and guest programs are built."""

from dataclasses import dataclass
from pathlib import Path

from harness.errors import ConfigurationError


@dataclass(frozen=True)
class Architecture:
    """One architecture; `target` and `target_arch` are FreeBSD's names (arch(7))."""

    target: str
    target_arch: str
    triple: str
    """What clang calls programs for it."""
    base: Path
    """The kernel's configuration, to which targets add."""
    image: str
    """What the kernel's build leaves, to be booted."""


_FOLDER = Path(__file__).parent / "kernel"

_ARCHITECTURES = {
    "x86_64": Architecture(
        target="amd64",
        target_arch="amd64",
        triple="x86_64-unknown-freebsd13",
        base=_FOLDER / "base-amd64.conf",
        image="kernel",
    ),
    "arm64": Architecture(
        target="arm64",
        target_arch="aarch64",
        triple="aarch64-unknown-freebsd13",
        base=_FOLDER / "base-arm64.conf",
        image="kernel.bin",
    ),
}


def architecture(name: str) -> Architecture:
    """By the harness's name. Raises ConfigurationError for one without FreeBSD guests."""
    try:
        return _ARCHITECTURES[name]
    except KeyError:
        raise ConfigurationError(
            f"FreeBSD kernels are built for {' and '.join(_ARCHITECTURES)}, not for {name} "
            "(docs/freebsd.md says where that ends)"
        ) from None
