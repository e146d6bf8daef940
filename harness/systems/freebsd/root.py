# SPDX-License-Identifier: BSD-2-Clause
"""The micro-guest's root: a small UFS with our init and the workload, made without root."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InfrastructureError
from harness.files import make_folder_once, write_atomically
from harness.kernels.apt import fetch_package, unpack
from harness.progress import Say
from harness.systems.filesystem_image import host_architecture

WORKLOAD_PATH = "/workload"
_MAKEFS, _SUITE = "makefs", "bookworm"
_LEAST_BYTES = 3 << 20
"""Room for what is put into the running guest."""
_FORMAT = 2
_SECONDS = 60
# mtree(5): what is owned by root though nobody here is
_MANIFEST = """#mtree
/set type=file uid=0 gid=0 mode=0755 time=0.0
. type=dir
    dev type=dir
    ..
    tmp type=dir mode=1777
    ..
"""


@dataclass(frozen=True)
class Root:
    """What goes into the image: the guest's programs."""

    init: Path
    workload: Path | None

    def programs(self) -> dict[str, bytes]:
        """Their content by their names in the root."""
        files = {"init": self.init}
        if self.workload is not None:
            files[WORKLOAD_PATH.lstrip("/")] = self.workload
        return {name: path.read_bytes() for name, path in files.items()}


def root_image(root: Root, cache: Path, say: Say) -> Path:
    """The image in the cache, made if it is not there; the same content is the same file.

    Raises InfrastructureError where makefs(8) cannot be had or fails.
    """
    programs = root.programs()
    digest = hashlib.sha256(str(_FORMAT).encode())
    for name, content in programs.items():
        digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    image = cache / "images" / f"freebsd-root-{digest.hexdigest()[:16]}.ufs"
    if not image.exists():
        image.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(image, make_ufs(programs, find_makefs(cache, say)))
    return image


def make_ufs(programs: dict[str, bytes], makefs: str) -> bytes:
    """A UFS image with these programs in its root, and empty folders dev and tmp.

    Version 1 of the format: what Debian's makefs writes as version 2 is refused by the kernel (its
    fs_sblockloc is version 1's). Raises InfrastructureError with what makefs said.
    """
    with tempfile.TemporaryDirectory(prefix="harness-root-") as scratch:
        tree = Path(scratch, "root")
        for folder in ("dev", "tmp"):
            (tree / folder).mkdir(parents=True)
        for name, content in programs.items():
            (tree / name).write_bytes(content)
        manifest = Path(scratch, "manifest")
        manifest.write_text(_MANIFEST + "".join(f"    {name}\n" for name in programs) + "..\n")
        image = Path(scratch, "image")
        size = _LEAST_BYTES + 2 * sum(len(content) for content in programs.values())
        argv = [
            makefs,
            "-t",
            "ffs",
            "-B",
            "little",
            "-F",
            str(manifest),
            "-M",
            str(size),
            "-f",
            "64",
        ]
        argv += ["-o", "version=1", "-T", "0", str(image), str(tree)]
        try:
            done = subprocess.run(
                argv, capture_output=True, text=True, errors="replace", check=False,
                stdin=subprocess.DEVNULL, timeout=_SECONDS,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InfrastructureError(f"makefs does not work: {error}") from error
        if done.returncode != 0 or not image.is_file():
            raise InfrastructureError(
                f"`{' '.join(argv)}` failed with status {done.returncode}: {done.stderr.strip()}"
            )
        return image.read_bytes()


def find_makefs(cache: Path, say: Say) -> str:
    """makefs(8): the host's, else the distribution's package, unpacked into the cache.

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
