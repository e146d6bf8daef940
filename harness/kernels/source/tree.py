# SPDX-License-Identifier: BSD-2-Clause
"""Build folders: a hard-linked copy of a source tree in which only patched files differ.

A file's time changes only when its content does, so make rebuilds what a changed patch, or another
state of the same source, touches and nothing else.
"""

import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.files import write_atomically
from harness.kernels.source.command import run
from harness.kernels.source.patches import PatchedFiles
from harness.progress import Say


@dataclass(frozen=True)
class BuildFolder:
    """A folder in which one configuration is built again and again."""

    path: Path

    @property
    def source(self) -> Path:
        """The tree with its patches."""
        return self.path / "source"

    @property
    def objects(self) -> Path:
        """make's output (O=).

        Just below the source, so that kbuild names all files relative to it (the Makefile's
        `srctree := ..`): `kernel BUG at mm/memory.c`, and the same objects in every build folder.
        """
        return self.source / "objects"

    @property
    def log(self) -> Path:
        """What make printed last."""
        return self.path / "build.log"

    @property
    def _changed(self) -> Path:
        return self.path / "changed-files.json"

    @property
    def _origin(self) -> Path:
        return self.path / "origin.json"

    @property
    def _copies(self) -> Path:
        return self.path / "copy-sources"

    @property
    def _source_set(self) -> Path:
        return self.path / "source-is-set"

    @property
    def _running(self) -> Path:
        return self.path / "make-is-running"

    def set_source(self, pristine: Path, patched: PatchedFiles) -> list[str]:
        """Makes the source the pristine tree with these patched files; what was changed for it.

        Safe to be killed at any point: the next call finishes it. Raises InfrastructureError.
        """
        changed: list[str] = []
        if not self.source.is_dir():
            self._changed.unlink(missing_ok=True)
            self._write_origin(pristine.name)
            _make_tree(pristine, self.source, as_copy=self._copies.exists())
        elif self._read_origin() != pristine.name:
            self._write_origin(None)
            changed = _sync_tree(pristine, self.source, self.objects, patched.names)
            self._write_changed(self._read_changed() & patched.names)
            self._write_origin(pristine.name)
        before = self._read_changed()
        # first the names, then the files: a half-done change is known as one
        self._write_changed(before | patched.names)
        changed += [
            name
            for name in sorted(before | patched.names)
            if _put(
                (patched.folder if name in patched.names else pristine) / name, self.source / name
            )
        ]
        self._write_changed(patched.names)
        self._source_set.touch()
        return changed

    def sources_are_intact(self) -> None:
        """Notes that no build has changed them since they were set."""
        self._source_set.unlink(missing_ok=True)

    @property
    def source_set_ns(self) -> int | None:
        """When the source was set, in ns since 1970; None if it was found intact since."""
        return self._source_set.stat().st_mtime_ns if self._source_set.exists() else None

    def forget_origin(self) -> None:
        """Makes the next `set_source` compare every file."""
        self._write_origin(None)

    def copy_sources_from_now_on(self) -> None:
        """Removes source and objects; the next source will be a copy, not hard links."""
        self._copies.touch()
        self._source_set.unlink(missing_ok=True)
        remove_tree(self.source)

    def make_begins(self, say: Say) -> None:
        """Notes that make writes objects, until `make_ended`.

        Where an earlier make never ended (SIGKILL, a power cut), what it had written may be half
        there, and the next make would take it for whole: it is removed.
        """
        self.objects.mkdir(parents=True, exist_ok=True)
        if self._running.exists():
            removed = _remove_newer(self.objects, self._running.stat().st_mtime)
            say(f"an earlier build was cut off: removed {removed} files that it had written")
            self._running.unlink()
        self._running.touch()

    def make_ended(self) -> None:
        """Notes that make has left nothing half written."""
        self._running.unlink(missing_ok=True)

    def _read_origin(self) -> str | None:
        """The pristine tree that the source is of; None where that is not known."""
        try:
            return str(json.loads(self._origin.read_bytes())["tree"])
        except (FileNotFoundError, ValueError, KeyError):
            return None

    def _write_origin(self, name: str | None) -> None:
        if name is None:
            self._origin.unlink(missing_ok=True)
        else:
            write_atomically(self._origin, json.dumps({"tree": name}).encode())

    def _read_changed(self) -> frozenset[str]:
        try:
            return frozenset(json.loads(self._changed.read_bytes()))
        except FileNotFoundError:
            return frozenset()

    def _write_changed(self, names: frozenset[str]) -> None:
        write_atomically(self._changed, json.dumps(sorted(names)).encode())


def remove_tree(folder: Path) -> None:
    """Removes a folder with all that is in it, if it is there."""
    if folder.exists():
        shutil.rmtree(folder)


def _make_tree(pristine: Path, into: Path, *, as_copy: bool) -> None:
    """Hard links of all files: they cost no disk. Or copies, which cost none where the file system
    shares their blocks."""
    unfinished = into.with_name(f".{into.name}")
    remove_tree(unfinished)
    into.parent.mkdir(parents=True, exist_ok=True)
    run(["cp", "-a", "--reflink=auto" if as_copy else "-l", str(pristine), str(unfinished)])
    unfinished.rename(into)


def _sync_tree(pristine: Path, source: Path, objects: Path, patched: frozenset[str]) -> list[str]:
    """Makes the source another pristine tree, but for the patched files; what that changed."""
    wanted = _files(pristine, None)
    stale = _files(source, objects) - wanted - patched
    for name in stale:
        (source / name).unlink()
        with suppress(OSError):
            os.removedirs((source / name).parent)  # those that are empty now
    # a patched file is put by its own content, so that it is not made anew twice
    changed = [n for n in sorted(wanted - patched) if _put(pristine / n, source / n)]
    return sorted([*stale, *changed])


def _files(tree: Path, without: Path | None) -> set[str]:
    """Paths below the tree of all files and links in it, but for one folder."""
    found: set[str] = set()
    for folder, folders, names in os.walk(tree):
        parent = Path(folder)
        linked = [name for name in folders if (parent / name).is_symlink()]
        folders[:] = [name for name in folders if without is None or parent / name != without]
        below = "" if parent == tree else f"{parent.relative_to(tree)}/"
        found.update(f"{below}{name}" for name in (*names, *linked))
    return found


def _put(wanted: Path, at: Path) -> bool:
    """Makes `at` a copy of `wanted`, or absent as that is; whether anything changed.

    Never writes through a hard link, and never brings back an old time: make goes by times.
    """
    if wanted.is_symlink():
        return _put_link(wanted.readlink(), at)
    if not wanted.exists():
        present = at.exists()
        at.unlink(missing_ok=True)
        return present
    mode = wanted.stat().st_mode & 0o777
    # who may read or write it is no content: only whether it is a program
    same_kind = at.is_file() and not at.is_symlink() and (at.stat().st_mode ^ mode) & 0o111 == 0
    if same_kind:
        if at.samefile(wanted):
            return False
        same_size = at.stat().st_size == wanted.stat().st_size
        if same_size and at.read_bytes() == wanted.read_bytes():
            return False
    at.parent.mkdir(parents=True, exist_ok=True)
    unfinished = at.with_name(f".{at.name}.harness")
    unfinished.unlink(missing_ok=True)
    shutil.copyfile(wanted, unfinished)
    unfinished.chmod(mode)
    unfinished.rename(at)
    return True


def _put_link(target: Path, at: Path) -> bool:
    if at.is_symlink() and at.readlink() == target:
        return False
    at.parent.mkdir(parents=True, exist_ok=True)
    at.unlink(missing_ok=True)
    at.symlink_to(target)
    return True


def _remove_newer(folder: Path, since: float) -> int:
    removed = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if path.lstat().st_mtime >= since:
                path.unlink()
                removed += 1
    return removed
