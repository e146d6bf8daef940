# SPDX-License-Identifier: BSD-2-Clause
"""Linux kernels as the distribution's packages have them, unmodified."""

from functools import partial
from pathlib import Path

from harness.errors import InfrastructureError
from harness.files import file_hash, make_folder_once
from harness.kernels.apt import Package, dependencies, fetch_package, unpack
from harness.kernels.kernel import Kernel
from harness.progress import Say

DEBIAN_ARCHITECTURES = {"x86_64": "amd64", "i386": "i386", "arm64": "arm64", "ppc64le": "ppc64el"}
_FOLLOW_DEPENDENCIES = 3


def packaged_kernel(name: str, suite: str, arch: str, cache: Path, say: Say) -> Kernel:
    """The kernel in the package `name` of a suite, or in the one that a metapackage depends on.

    `arch` is the harness's name of the architecture. Raises PackageUnavailableError,
    InfrastructureError.
    """
    for _ in range(_FOLLOW_DEPENDENCIES):
        package = fetch_package(name, suite, DEBIAN_ARCHITECTURES[arch], cache, say)
        folder = make_folder_once(
            cache / "kernels" / f"{package.name}-{package.sha256[:16]}", partial(unpack, package)
        )
        if images := sorted((folder / "boot").glob("vmlinu*")):
            return _kernel(package, folder, images[0])
        followed = [other for other in dependencies(package) if other.startswith("linux-image-")]
        if not followed:
            break
        name = followed[0]
    raise InfrastructureError(f"the package {package.identity} holds no kernel in /boot")


def _kernel(package: Package, folder: Path, image: Path) -> Kernel:
    release = image.name.partition("-")[2]
    modules = folder / "lib/modules" / release
    if not modules.is_dir():
        modules = folder / "usr/lib/modules" / release  # packages of suites with a merged /usr
    return Kernel(
        label=package.identity,
        release=release,
        identity=file_hash(image),
        image=image,
        modules=modules if modules.is_dir() else None,
        package=package,
    )
