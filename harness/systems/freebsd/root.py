# SPDX-License-Identifier: BSD-2-Clause
"""The micro-guest's root: a small UFS with our init and the workload, made without root."""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from harness.files import write_atomically
from harness.progress import Say
from harness.systems.freebsd.makefs import find_makefs, make_ufs

WORKLOAD_PATH = "/workload"
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
        write_atomically(image, make_root(programs, find_makefs(cache, say)))
    return image


def make_root(programs: dict[str, bytes], makefs: str) -> bytes:
    """An image with these programs in its root, and empty folders dev and tmp.

    Raises InfrastructureError with what makefs said.
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
        options = ["-F", str(manifest), "-f", "64", "-T", "0"]
        make_ufs(makefs, tree, image, size, options, _SECONDS)
        return image.read_bytes()
