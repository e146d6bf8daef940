# SPDX-License-Identifier: BSD-2-Clause
"""What of a tree a build in a guest does not have yet, as a tar archive; what it must forget."""

import io
import json
import os
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.files import write_atomically

SOURCE = "src"
REMOVED = "removed"
"""In the archive: the names below `src` that are to go, one a line."""
Stamps = Mapping[str, list[int]]
"""By path below the tree: size, time (ns), mode."""


@dataclass(frozen=True)
class Shipment:
    """The difference between a tree and what was sent before."""

    changed: tuple[str, ...]
    removed: tuple[str, ...]
    stamps: Stamps
    """Of the whole tree; what `plan_shipment` compares with next time."""


def plan_shipment(source: Path, without: Path, record: Path) -> Shipment:
    """Compares the tree (but for the folder `without` in it) with `record`, if there is one."""
    try:
        before: Stamps = json.loads(record.read_bytes())
    except (FileNotFoundError, ValueError):
        before = {}
    stamps: dict[str, list[int]] = {}
    for folder, folders, names in os.walk(source):
        folders[:] = sorted(name for name in folders if Path(folder, name) != without)
        linked = [name for name in folders if Path(folder, name).is_symlink()]
        for name in (*names, *linked):
            path = Path(folder, name)
            status = path.lstat()
            stamps[str(path.relative_to(source))] = [
                status.st_size, status.st_mtime_ns, status.st_mode
            ]  # fmt: skip
    changed = tuple(name for name in sorted(stamps) if before.get(name) != stamps[name])
    return Shipment(changed, tuple(sorted(set(before) - set(stamps))), stamps)


def pack(shipment: Shipment, source: Path, files: Mapping[str, bytes], into: Path) -> None:
    """Writes the archive: changed files below `src/` with their times, `removed`, and `files`."""
    own = {REMOVED: "".join(f"{name}\n" for name in shipment.removed).encode(), **files}
    with tarfile.open(into, "w", format=tarfile.PAX_FORMAT) as archive:
        for name in shipment.changed:
            member = archive.gettarinfo(source / name, f"{SOURCE}/{name}")
            # a hard link to a file of the cache is a file of its own here
            member.type = tarfile.SYMTYPE if member.issym() else tarfile.REGTYPE
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            if member.issym():
                archive.addfile(member)
                continue
            member.size = (source / name).stat().st_size
            with (source / name).open("rb") as content:
                archive.addfile(member, content)
        for name, text in own.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(text), 0o644
            archive.addfile(member, io.BytesIO(text))


def note_shipped(shipment: Shipment, record: Path) -> None:
    """Remembers the tree, for the next `plan_shipment`."""
    write_atomically(record, json.dumps(shipment.stamps).encode())
