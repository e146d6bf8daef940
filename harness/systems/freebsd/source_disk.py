# SPDX-License-Identifier: BSD-2-Clause
"""The disk with the sources for a build in a guest: a UFS, made on the host.

makefs(8) writes in seconds what tar(1) of an emulated guest unpacks in many minutes.
"""

import os
import tempfile
from pathlib import Path

from harness.systems.freebsd.makefs import make_ufs
from harness.systems.freebsd.shipment import Shipment

_FREE = "30%"
"""Of its blocks and inodes, for what the tree will get."""
_LEAST_BYTES = 64 << 20
_SECONDS = 1800


def make_source_disk(shipment: Shipment, source: Path, disk: Path, makefs: str) -> None:
    """Writes `disk`: the shipment's files as they are in the tree, and room for more.

    Raises InfrastructureError with what makefs said.
    """
    with tempfile.TemporaryDirectory(prefix="tree-", dir=disk.parent) as scratch:
        tree = Path(scratch)
        _link(shipment, source, tree)
        options = ["-b", _FREE, "-f", _FREE, "-o", "bsize=32768,fsize=4096"]
        make_ufs(makefs, tree, disk, _LEAST_BYTES, options, _SECONDS)


def _link(shipment: Shipment, source: Path, into: Path) -> None:
    """The shipment's files under a folder of their own: links, since the tree is beside it."""
    made = {into}
    for name in shipment.changed:
        path = into / name
        if path.parent not in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            made.add(path.parent)
        os.link(source / name, path, follow_symlinks=False)
