# SPDX-License-Identifier: BSD-2-Clause
"""A kernel that can be booted, wherever it came from."""

from dataclasses import dataclass
from pathlib import Path

from harness.kernels.apt import Package


@dataclass(frozen=True)
class Kernel:
    """A bootable kernel; `identity` is the hash of its content, `label` what people call it."""

    label: str
    release: str
    identity: str
    image: Path
    modules: Path | None
    """The folder lib/modules/<release>, where the kernel has modules."""
    source: str | None = None
    """What tree it was built from, in full; None for a packaged kernel."""
    commit: str | None = None
    """The tree's git commit id in full, where it has one."""
    vmlinux: Path | None = None
    """The same kernel as an ELF file, with DWARF if it was built with it; a packaged one has none.
    """
    package: Package | None = None
    """What it came in."""
