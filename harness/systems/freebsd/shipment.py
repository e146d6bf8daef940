# SPDX-License-Identifier: BSD-2-Clause
"""What of a tree a build in a guest does not have yet, as a tar archive; what it must forget."""

import io
import json
import os
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.files import write_atomically

SOURCE = "src"
REMOVED = "removed"
"""In the archive: the names below `src` that are to go, one a line."""
_UNUSED = frozenset((
    "bin", "cddl", "contrib", "crypto", "games", "gnu", "kerberos5", "lib", "libexec", "release",
    "rescue", "sbin", "secure", "stand", "targets", "tests",
))  # fmt: skip
"""Folders at a tree's top that `buildkernel` reads nothing of: two thirds of its files."""
_USED = tuple(map(PurePosixPath, ("contrib/bmake", "gnu/usr.bin/cc/cc_tools", "lib/clang")))
"""But for these: make, which releases up to 10 build first; the versions of their compilers."""
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
    """Compares what of the tree a kernel is made of with `record`, if there is one.

    `without` is a folder in it that does not count.
    """
    try:
        before: Stamps = json.loads(record.read_bytes())
    except (FileNotFoundError, ValueError):
        before = {}
    stamps: dict[str, list[int]] = {}
    for folder, folders, names in os.walk(source):
        inside = PurePosixPath(folder).relative_to(source)
        folders[:] = sorted(
            name for name in folders if Path(folder, name) != without and _leads_on(inside / name)
        )
        linked = [name for name in folders if Path(folder, name).is_symlink()]
        for name in (*names, *linked):
            path = Path(folder, name)
            if not _is_used(inside / name):
                continue
            status = path.lstat()
            stamps[str(path.relative_to(source))] = [
                status.st_size, status.st_mtime_ns, status.st_mode
            ]  # fmt: skip
    changed = tuple(name for name in sorted(stamps) if before.get(name) != stamps[name])
    return Shipment(changed, tuple(sorted(set(before) - set(stamps))), stamps)


def _is_used(path: PurePosixPath) -> bool:
    return path.parts[0] not in _UNUSED or any(map(path.is_relative_to, _USED))


def _leads_on(folder: PurePosixPath) -> bool:
    """Whether there may be something that is used in it."""
    return _is_used(folder) or any(used.is_relative_to(folder) for used in _USED)


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
