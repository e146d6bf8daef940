# SPDX-License-Identifier: BSD-2-Clause
"""The disk with the sources for a build in a guest: a UFS, made on the host.

makefs(8) writes in seconds what tar(1) of an emulated guest unpacks in many minutes.
"""

import os
import subprocess
import tempfile
from pathlib import Path

from harness.errors import InfrastructureError
from harness.systems.freebsd.shipment import Shipment

_FREE = "30%"
"""Of its blocks and inodes, for what the tree will get."""
_LEAST_BYTES = 64 << 20
_SECONDS = 1800


def make_source_disk(shipment: Shipment, source: Path, disk: Path, makefs: str) -> None:
    """Writes `disk`: the shipment's files as they are in the tree, and room for more.

    It is a UFS of version 1, as the roots are (root.py says why). Raises InfrastructureError with
    what makefs said.
    """
    with tempfile.TemporaryDirectory(prefix="tree-", dir=disk.parent) as scratch:
        tree = Path(scratch)
        _link(shipment, source, tree)
        argv = [
            makefs, "-t", "ffs", "-B", "little", "-M", str(_LEAST_BYTES),
            "-b", _FREE, "-f", _FREE,
            "-o", "version=1,bsize=32768,fsize=4096", str(disk), str(tree),
        ]  # fmt: skip
        try:
            done = subprocess.run(
                argv, capture_output=True, text=True, errors="replace", check=False,
                stdin=subprocess.DEVNULL, timeout=_SECONDS,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InfrastructureError(f"makefs does not work: {error}") from error
    if done.returncode != 0:
        disk.unlink(missing_ok=True)
        raise InfrastructureError(
            f"`{' '.join(argv)}` failed with status {done.returncode}: {done.stderr.strip()}"
        )


def _link(shipment: Shipment, source: Path, into: Path) -> None:
    """The shipment's files under a folder of their own: links, since the tree is beside it."""
    made = {into}
    for name in shipment.changed:
        path = into / name
        if path.parent not in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            made.add(path.parent)
        os.link(source / name, path, follow_symlinks=False)
