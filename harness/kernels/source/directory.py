# SPDX-License-Identifier: BSD-2-Clause
"""A user's own kernel tree: what it holds now, by a hash, and a copy of that in the cache.

The user goes on editing while a build runs, so nothing is built where they edit, and no file of
theirs is hard-linked.
"""

import json
import os
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from harness.errors import ConfigurationError, InfrastructureError
from harness.files import write_atomically
from harness.kernels.source.builder import TreeKind
from harness.kernels.source.command import CommandError, run
from harness.progress import Say

_GIT = ["git", "-c", "core.fsmonitor=false"]
_ENVIRONMENT = {"GIT_OPTIONAL_LOCKS": "0"}
_SHOWN = 4


@dataclass(frozen=True)
class DirectoryState:
    """What a directory holds: `digest` names the content, `files` are paths below it.

    `commit` is HEAD's where the directory is a git worktree, `changed` whether it has more than
    that commit.
    """

    directory: Path
    files: tuple[str, ...]
    digest: str
    commit: str | None
    changed: bool


def directory_state(directory: Path, kind: TreeKind, where: str) -> DirectoryState:
    """What the directory holds now.

    Of a git worktree: HEAD's commit id, the changes against it, and the content of new files that
    git does not ignore. Of any other: path, size, mode and modification time of every file, which
    is as good as its content unless somebody sets times back. Raises ConfigurationError, beginning
    with `where`, where it is no kernel's tree or has been built in.
    """
    if not directory.is_dir():
        raise ConfigurationError(f"{where}: there is no directory {directory}")
    state = _worktree_state(directory) or _plain_state(directory, kind, where)
    kind.require(set(state.files).__contains__, f"{where}: {directory}")
    if built := kind.built_among(state.files):
        more = f" and {len(built) - _SHOWN} more" if len(built) > _SHOWN else ""
        raise ConfigurationError(
            f"{where}: {directory} has what a build left in git itself, or as new files that git "
            f"does not ignore: {', '.join(built[:_SHOWN])}{more}: `git rm -r --cached` them and "
            "have them ignored, or remove them"
        )
    return state


def copy_directory(
    state: DirectoryState, kind: TreeKind, into: Path, memory: Path, where: str, say: Say
) -> None:
    """Copies the files into a folder, those that have not changed since the last copy by a link.

    `memory` is the file that remembers the last copy of that directory. Raises ConfigurationError
    where the directory changes meanwhile.
    """
    before, before_stamps = _last_copy(memory)
    stamps: dict[str, list[int]] = {}
    made: set[Path] = set()
    copied = 0
    for name in state.files:
        file = state.directory / name
        copy = into / name
        if copy.parent not in made:
            copy.parent.mkdir(parents=True, exist_ok=True)
            made.add(copy.parent)
        stamps[name] = _stamp(file)
        if before is not None and before_stamps.get(name) == stamps[name]:
            try:
                os.link(before / name, copy, follow_symlinks=False)
                continue
            except OSError:
                pass  # the last copy is gone, or a file has as many links as it may have
        shutil.copy2(file, copy, follow_symlinks=False)
        copied += 1
    if directory_state(state.directory, kind, where).digest != state.digest:
        raise ConfigurationError(
            f"{where}: {state.directory} was changed while it was copied: run the command again"
        )
    final = into.with_name(into.name.removeprefix("."))
    record = {"copy": str(final), "stamps": stamps}
    write_atomically(memory, json.dumps(record, separators=(",", ":")).encode())
    say(f"copied {copied} of {len(state.files)} files of {state.directory}, the others as before")


def _worktree_state(directory: Path) -> DirectoryState | None:
    """None where it is not the top of a git worktree with a commit."""
    try:
        top = _git(directory, "rev-parse", "--show-toplevel").rstrip(b"\n")
        commit = _git(directory, "rev-parse", "--verify", "HEAD^{commit}").decode().strip()
    except CommandError as error:
        if "dubious ownership" in error.said:
            raise InfrastructureError(f"{directory}: git does not read it: {error.said}") from error
        return None
    except InfrastructureError:  # no git here
        return None
    if not directory.samefile(os.fsdecode(top)):
        return None
    diff = ["diff", "HEAD", "--binary", "--full-index", "--no-ext-diff", "--no-textconv"]
    changes = _git(directory, *diff, "--no-color", "--no-renames", "--ignore-submodules")
    new = _names(_git(directory, "ls-files", "-z", "--others", "--exclude-standard"))
    tracked = _names(_git(directory, "ls-files", "-z", "--cached"))
    digest = sha256(f"worktree {commit}\n".encode() + changes)
    for name in new:
        digest.update(
            f"\0{name}\0{_content_hash(directory / name)}".encode(errors="surrogateescape")
        )
    files = [name for name in sorted({*tracked, *new}) if _is_file(directory / name)]
    changed = bool(changes or new)
    return DirectoryState(directory, tuple(files), digest.hexdigest(), commit, changed)


def _plain_state(directory: Path, kind: TreeKind, where: str) -> DirectoryState:
    built = [
        str(path.relative_to(directory))
        for pattern in kind.built
        for path in sorted(directory.glob(pattern))
    ]
    if built:
        raise ConfigurationError(
            f"{where}: {directory} has been built in ({', '.join(built)} there), and "
            f"cannot be built elsewhere: {kind.clean} (or name a git worktree, of which only the "
            "sources are taken)"
        )
    files = []
    digest = sha256(b"manifest\n")
    for parent, folders, names in os.walk(directory):
        folders[:] = sorted(name for name in folders if name != ".git")
        below = "" if parent == str(directory) else f"{parent[len(str(directory)) + 1 :]}/"
        linked = [name for name in folders if Path(parent, name).is_symlink()]
        for name in sorted([*names, *linked]):
            status = os.lstat(f"{parent}/{name}")
            if not stat.S_ISREG(status.st_mode) and not stat.S_ISLNK(status.st_mode):
                continue
            relative = f"{below}{name}"
            line = f"{relative}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_mode:o}\n"
            digest.update(line.encode(errors="surrogateescape"))
            files.append(relative)
    return DirectoryState(directory, tuple(sorted(files)), digest.hexdigest(), None, changed=True)


def _is_file(path: Path) -> bool:
    """A file or a symbolic link; no folder (a submodule's), socket or missing file."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode)


def _stamp(file: Path) -> list[int]:
    # the time of the last change of state cannot be set back, as that of the content can
    status = file.lstat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_mode]


def _last_copy(memory: Path) -> tuple[Path | None, dict[str, list[int]]]:
    try:
        record = json.loads(memory.read_bytes())
        return Path(record["copy"]), record["stamps"]
    except (OSError, ValueError, KeyError):
        return None, {}


def _content_hash(path: Path) -> str:
    if path.is_symlink():
        return f"link {path.readlink()}"
    if not path.is_file():
        return "no file"
    return f"{path.stat().st_mode:o} {sha256(path.read_bytes()).hexdigest()}"


def _names(listing: bytes) -> Sequence[str]:
    return [os.fsdecode(name) for name in listing.split(b"\0") if name]


def _git(directory: Path, *arguments: str) -> bytes:
    return run([*_GIT, "-C", str(directory), *arguments], extra=_ENVIRONMENT)
