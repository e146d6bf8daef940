# SPDX-License-Identifier: BSD-2-Clause
"""Source trees: unpacked once, and per build a hard-linked copy in which only patched files differ.

A file's time changes only when its content does, so make rebuilds what a changed patch touches and
nothing else.
"""

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ConfigurationError, InfrastructureError
from harness.files import write_atomically
from harness.kernels.apt import Package, unpack
from harness.kernels.kbuild.lock import locked
from harness.kernels.kbuild.patches import PatchedFiles
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
    def _running(self) -> Path:
        return self.path / "make-is-running"

    def set_source(self, pristine: Path, patched: PatchedFiles) -> list[str]:
        """Makes the source the pristine tree with these patched files; what was changed for it.

        Safe to be killed at any point: the next call finishes it. Raises InfrastructureError.
        """
        if not self.source.is_dir():
            self._changed.unlink(missing_ok=True)
            _link_tree(pristine, self.source)
        before = self._read_changed()
        # first the names, then the files: a half-done change is known as one
        self._write_changed(before | patched.names)
        changed = [
            name
            for name in sorted(before | patched.names)
            if _put(
                (patched.folder if name in patched.names else pristine) / name, self.source / name
            )
        ]
        self._write_changed(patched.names)
        return changed

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

    def _read_changed(self) -> frozenset[str]:
        try:
            return frozenset(json.loads(self._changed.read_bytes()))
        except FileNotFoundError:
            return frozenset()

    def _write_changed(self, names: frozenset[str]) -> None:
        write_atomically(self._changed, json.dumps(sorted(names)).encode())


def unpacked_source(package: Package, cache: Path, say: Say) -> Path:
    """The tree in a linux-source package, unpacked into the cache once.

    Raises ConfigurationError where the package holds none, InfrastructureError.
    """
    tree = cache / "sources" / f"{package.name}-{package.sha256[:16]}"
    if tree.is_dir():
        return tree
    with locked(tree.with_name(f"{tree.name}.lock"), f"the source {package.identity}", say):
        if tree.is_dir():
            return tree
        say(f"unpacking {package.identity} (1 to 2 GB)")
        began = time.monotonic()
        unfinished = tree.with_name(f".{tree.name}")
        _remove_tree(unfinished)
        unfinished.mkdir(parents=True)
        files = unfinished / ".package"
        unpack(package, files)
        tarballs = sorted((files / "usr/src").glob("linux-source-*.tar*"))
        if len(tarballs) != 1:
            raise ConfigurationError(
                f"the package {package.identity} should hold one usr/src/linux-source-*.tar.*, "
                f"and holds {len(tarballs)}: name a package such as linux-source-6.1"
            )
        _run(["tar", "-xf", str(tarballs[0]), "--strip-components=1", "-C", str(unfinished)])
        _remove_tree(files)
        if not (unfinished / "Makefile").is_file():
            raise ConfigurationError(f"{tarballs[0].name} of {package.identity} has no Makefile")
        # a crash must not leave a tree whose name is on the disk and whose files are not
        _run(["sync", "-f", str(unfinished)])
        unfinished.rename(tree)
        say(f"unpacked {package.identity} in {time.monotonic() - began:.0f} s")
    return tree


def _link_tree(pristine: Path, into: Path) -> None:
    unfinished = into.with_name(f".{into.name}")
    _remove_tree(unfinished)
    into.parent.mkdir(parents=True, exist_ok=True)
    _run(["cp", "-al", str(pristine), str(unfinished)])
    unfinished.rename(into)


def _put(wanted: Path, at: Path) -> bool:
    """Makes `at` a copy of `wanted`, or absent as that is; whether anything changed.

    Never writes through a hard link, and never brings back an old time: make goes by times.
    """
    if not wanted.exists():
        present = at.exists()
        at.unlink(missing_ok=True)
        return present
    mode = wanted.stat().st_mode & 0o777
    same_mode = at.is_file() and at.stat().st_mode & 0o777 == mode
    if same_mode and at.read_bytes() == wanted.read_bytes():
        return False
    at.parent.mkdir(parents=True, exist_ok=True)
    unfinished = at.with_name(f".{at.name}.harness")
    unfinished.unlink(missing_ok=True)
    shutil.copyfile(wanted, unfinished)
    unfinished.chmod(mode)
    unfinished.rename(at)
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


def _remove_tree(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _run(argv: list[str]) -> None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False)
    except FileNotFoundError as error:
        raise InfrastructureError(f"{argv[0]} is not installed") from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise InfrastructureError(f"`{' '.join(argv[:3])} …` failed: {'; '.join(said[:3])}")
