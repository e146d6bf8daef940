# SPDX-License-Identifier: BSD-2-Clause
"""makefs(8): file systems that FreeBSD mounts, made on the host without root."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from harness.errors import InfrastructureError
from harness.files import make_folder_once
from harness.kernels.apt import fetch_package, unpack
from harness.progress import Say
from harness.systems.filesystem_image import host_architecture

_MAKEFS, _SUITE = "makefs", "bookworm"


def find_makefs(cache: Path, say: Say) -> str:
    """The host's, else the distribution's package, unpacked into the cache.

    Raises InfrastructureError where neither can be had.
    """
    if (found := shutil.which(_MAKEFS)) is not None:
        return found
    package = fetch_package(_MAKEFS, _SUITE, host_architecture(), cache, say)
    folder = cache / "unpacked" / f"{package.name}-{package.sha256[:16]}"
    make_folder_once(folder, lambda into: unpack(package, into))
    for place in ("usr/bin", "usr/sbin", "bin"):
        program = folder / place / _MAKEFS
        if os.access(program, os.X_OK):
            return str(program)
    raise InfrastructureError(f"the package {package.identity} holds no {_MAKEFS}")


def make_ufs(
    makefs: str, tree: Path, image: Path, least_bytes: int, options: Sequence[str], seconds: float
) -> None:
    """Writes `image`: a UFS of at least so many bytes with what is below `tree`.

    Version 1 of the format: what Debian's makefs writes as version 2 is refused by the kernel (its
    fs_sblockloc is version 1's). Raises InfrastructureError with what makefs said; then there is no
    image.
    """
    argv = [
        makefs, "-t", "ffs", "-B", "little", "-o", "version=1", "-M", str(least_bytes),
        *options, str(image), str(tree),
    ]  # fmt: skip
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, errors="replace", check=False,
            stdin=subprocess.DEVNULL, timeout=seconds,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        image.unlink(missing_ok=True)
        raise InfrastructureError(f"makefs does not work: {error}") from error
    if done.returncode != 0 or not image.is_file():
        image.unlink(missing_ok=True)
        raise InfrastructureError(
            f"`{' '.join(argv)}` failed with status {done.returncode}: {done.stderr.strip()}"
        )
