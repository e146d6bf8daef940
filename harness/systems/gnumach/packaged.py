# SPDX-License-Identifier: BSD-2-Clause
"""GNU Mach kernels as the distribution's packages have them, uncompressed."""

from pathlib import Path

from harness.errors import InfrastructureError
from harness.files import file_hash, make_folder_once
from harness.kernels.apt import Package, dependencies, fetch_package, unpack
from harness.kernels.kernel import Kernel
from harness.kernels.packaged import DEBIAN_ARCHITECTURES
from harness.kernels.vmlinuz import decompressed
from harness.progress import Say

_FOLLOW_DEPENDENCIES = 3
_PREFIX = "gnumach-image-"


def packaged_gnumach(name: str, suite: str, arch: str, cache: Path, say: Say) -> Kernel:
    """The kernel in the package `name` of a suite, or in the one that a metapackage depends on.

    Its image is an ELF file with whatever symbols and DWARF the package has. `arch` is x86_64 or
    i386. Raises PackageUnavailableError, InfrastructureError.
    """
    for _ in range(_FOLLOW_DEPENDENCIES):
        package = fetch_package(name, suite, DEBIAN_ARCHITECTURES[arch], cache, say)
        folder = make_folder_once(
            cache / "kernels" / f"{package.name}-{package.sha256[:16]}",
            lambda into, package=package: _fill(into, package),  # type: ignore[misc]
        )
        if images := sorted((folder / "boot").glob("gnumach-*")):
            return Kernel(
                label=package.identity,
                release=images[0].name.removeprefix("gnumach-"),
                identity=file_hash(images[0]),
                image=images[0],
                modules=None,
            )
        followed = [other for other in dependencies(package) if other.startswith(_PREFIX)]
        if not followed:
            break
        name = followed[0]
    raise InfrastructureError(f"the package {package.identity} holds no GNU Mach in /boot")


def _fill(folder: Path, package: Package) -> None:
    unpack(package, folder)
    for packed in (folder / "boot").glob("gnumach-*.gz"):
        packed.with_suffix("").write_bytes(decompressed(packed.read_bytes()))
        packed.unlink()
