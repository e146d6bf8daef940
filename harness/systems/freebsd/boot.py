# SPDX-License-Identifier: BSD-2-Clause
"""How QEMU starts FreeBSD kernels: on amd64 by a multiboot shim, on arm64 as it starts Linux."""

import hashlib
from pathlib import Path

from harness.errors import ConfigurationError
from harness.files import write_atomically
from harness.kernels.kernel import Kernel
from harness.qemu.command import Boot
from harness.systems.freebsd.architecture import architecture
from harness.systems.freebsd.embedded import embed
from harness.systems.freebsd.program import compile_shim

WITH_SYMBOLS = "vmlinux"
"""The kernel's ELF file with symbols and lines, beside its image."""


def kernel_boot(
    kernel: Kernel, arch: str, root: Path | None, append: tuple[str, ...], cache: Path
) -> Boot:
    """The kernel with the words of its environment, and a root in memory if `root` is one.

    Raises HarnessError.
    """
    if architecture(arch).boots_by_shim:
        return _multiboot(kernel, root, append, cache)
    return _embedding_boot(kernel, arch, root, append, cache)


def _multiboot(kernel: Kernel, root: Path | None, append: tuple[str, ...], cache: Path) -> Boot:
    """amd64: the shim, with kernel and root as its modules."""
    shim = compile_shim(cache)
    files = (kernel.image,) if root is None else (kernel.image, root)
    for file in files:
        if " " in str(file):  # QEMU takes what follows a space for the module's arguments
            raise ConfigurationError(
                f"QEMU cannot load a multiboot module whose path has a space: {file}; set "
                "HARNESS_CACHE to another folder"
            )
    modules = ",".join(str(file).replace(",", ",,") for file in files)
    # QEMU puts the shim's own path before what is appended
    return Boot(shim, modules, ("--", *append))


def _embedding_boot(
    kernel: Kernel, arch: str, root: Path | None, append: tuple[str, ...], cache: Path
) -> Boot:
    """arm64: the kernel, or a copy of it with the root inside, started as Linux is."""
    image = kernel.image
    if root is not None:
        key = hashlib.sha256(f"{kernel.identity} {root.name}".encode()).hexdigest()[:16]
        image = cache / "images" / f"freebsd-{arch}-{key}.bin"
        if not image.exists():
            elf = kernel.image.with_name(WITH_SYMBOLS)
            write_atomically(image, embed(kernel.image, elf, root, kernel.label))
    # sys/arm64/arm64/machdep_boot.c: a command line that begins so is the kernel's environment
    first, *others = append
    return Boot(image, None, (f"FreeBSD:{first}", *others))
