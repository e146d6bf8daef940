# SPDX-License-Identifier: BSD-2-Clause
"""Unified diffs applied to copies of the files that they name.

Format: POSIX diff -u as patch(1) reads it, paths with one leading component (`-p1`), as git and the
kernel's maintainers write them. Fuzz is refused: a hunk moved to where its context does not match
may well compile, and be another race.
"""

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.errors import ConfigurationError, InfrastructureError

_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_REFUSED = ("rename from ", "copy from ", "GIT binary patch", "Binary files ")
_FAILED_HUNK = re.compile(r"Hunk #(\d+) FAILED")
_PATCHING = re.compile(r"(?:patching|checking) file '?(.+?)'?(?: \(.*\))?$")
_NULL = "/dev/null"


@dataclass(frozen=True)
class Hunk:
    """One hunk; `start` is the line it expects in the old file, `old` the lines it expects."""

    start: int
    old: tuple[str, ...]


@dataclass(frozen=True)
class FileChange:
    """What a patch does to one file, by its path in the tree."""

    path: str
    creates: bool
    hunks: tuple[Hunk, ...]


@dataclass(frozen=True)
class PatchedFiles:
    """Files as patches leave them: in `folder` under their paths in the tree, or absent there."""

    folder: Path
    names: frozenset[str]


def parse_patch(text: str, name: str) -> list[FileChange]:
    """The changes in a patch, in order; `name` is the file, for messages.

    Raises ConfigurationError where it changes nothing, is cut short, reaches out of the tree, or
    renames or holds binary data.
    """
    lines = _lines(text)
    changes: list[FileChange] = []
    hunks: list[Hunk] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.startswith(_REFUSED):
            raise ConfigurationError(
                f"{name}:{at + 1}: only changes of text files are taken, not `{line}` "
                "(for a rename: git format-patch --no-renames)"
            )
        following = lines[at + 1] if at + 1 < len(lines) else ""
        if line.startswith("--- ") and following.startswith("+++ "):
            old, new = _path(line, name, at + 1), _path(following, name, at + 2)
            path = old if new is None else new
            if path is None:
                raise ConfigurationError(f"{name}:{at + 1}: both files are {_NULL}")
            hunks = []
            at += 2
            while at < len(lines) and (header := _HUNK.match(lines[at])):
                hunk, at = _read_hunk(lines, at, header, name)
                hunks.append(hunk)
            if not hunks:
                raise ConfigurationError(f"{name}:{at}: no hunk (@@ … @@) follows for {path}")
            changes.append(FileChange(path, creates=old is None, hunks=tuple(hunks)))
            continue
        if _HUNK.match(line):
            raise ConfigurationError(f"{name}:{at + 1}: a hunk without `--- ` and `+++ ` before it")
        at += 1
    if not changes:
        raise ConfigurationError(f"{name}: no unified diff in it (`--- a/…`, `+++ b/…`, `@@ … @@`)")
    return changes


def apply_patches(tree: Path, patches: Sequence[Path], into: Path) -> PatchedFiles:
    """Applies the patches in order to copies, in `into`, of the tree's files; the tree is not
    touched.

    Raises ConfigurationError for a patch that does not apply, naming patch, file and hunk and the
    place whose lines are nearest to what the hunk expects.
    """
    names: set[str] = set()
    for patch in patches:
        changes = parse_patch(_text(patch), str(patch))
        for change in changes:
            _bring(tree, into, change, patch, known=change.path in names)
            names.add(change.path)
        _apply(patch, changes, into)
    return PatchedFiles(into, frozenset(names))


def _lines(text: str) -> list[str]:
    # not splitlines(): that ends a line at a form feed too, which kernel sources have
    return text.removesuffix("\n").split("\n")


def _text(patch: Path) -> str:
    try:
        return patch.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise ConfigurationError(f"the patch {patch} cannot be read: {error.strerror}") from error


def _bring(tree: Path, into: Path, change: FileChange, patch: Path, known: bool) -> None:
    copy, original = into / change.path, tree / change.path
    if not known and original.is_file():
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(original, copy)
    if change.creates and copy.exists():
        raise ConfigurationError(f"{patch}: creates {change.path}, which is there already")
    if not change.creates and not copy.is_file():
        raise ConfigurationError(f"{patch}: changes {change.path}, which this kernel does not have")


def _apply(patch: Path, changes: Sequence[FileChange], into: Path) -> None:
    try:
        done = subprocess.run(
            ["patch", "-p1", "--batch", "--forward", "--fuzz=0", "--no-backup-if-mismatch",
             "--reject-file=-", "--remove-empty-files", "-d", str(into),
             "-i", str(patch.resolve())],
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise InfrastructureError("patch(1) is not installed: apt-get install patch") from error
    if done.returncode == 0:
        return
    complaints = []
    current = changes[0]
    for line in done.stdout.splitlines():
        if found := _PATCHING.match(line):
            current = next((c for c in changes if c.path == found[1]), current)
        elif (failed := _FAILED_HUNK.match(line)) and int(failed[1]) <= len(current.hunks):
            complaints.append(_complaint(current, int(failed[1]), into))
    said = "\n  ".join(complaints) or (done.stdout + done.stderr).strip()
    raise ConfigurationError(f"{patch} does not apply:\n  {said}")


def _complaint(change: FileChange, number: int, into: Path) -> str:
    hunk = change.hunks[number - 1]
    said = f"{change.path}: hunk {number} of {len(change.hunks)}, at line {hunk.start}"
    have = _lines((into / change.path).read_text(encoding="utf-8", errors="surrogateescape"))
    start, equal = _nearest(hunk, have)
    if equal == 0:
        return f"{said}: none of its {len(hunk.old)} lines is in the file"
    for offset, expected in enumerate(hunk.old):
        found = have[start + offset] if start + offset < len(have) else "(the end of the file)"
        if found != expected:
            return (
                f"{said}: nearest are lines {start + 1} to {start + len(hunk.old)} "
                f"({equal} of {len(hunk.old)} equal); line {start + offset + 1} differs:\n"
                f"    expected: {expected}\n    found:    {found}"
            )
    return f"{said}: its lines are there at {start + 1}, so it seems to be applied in part already"


def _nearest(hunk: Hunk, have: Sequence[str]) -> tuple[int, int]:
    """Where most of the hunk's lines are: index of the first line, and how many are equal."""
    best = (0, 0)
    for start in range(max(1, len(have) - len(hunk.old) + 1)):
        window = have[start : start + len(hunk.old)]
        equal = sum(a == b and a.strip() != "" for a, b in zip(hunk.old, window, strict=False))
        closer = abs(start + 1 - hunk.start) < abs(best[0] + 1 - hunk.start)
        if equal > best[1] or (equal == best[1] and closer):
            best = (start, equal)
    return best


def _path(line: str, name: str, number: int) -> str | None:
    """The path in a `--- ` or `+++ ` line without its first component; None for /dev/null."""
    text = line[4:].split("\t")[0].strip()
    if text == _NULL:
        return None
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or len(path.parts) < 2 or text.startswith('"'):
        raise ConfigurationError(
            f"{name}:{number}: expected a path in the tree such as a/mm/memory.c, found {text}"
        )
    return str(PurePosixPath(*path.parts[1:]))


def _read_hunk(lines: Sequence[str], at: int, header: re.Match[str], name: str) -> tuple[Hunk, int]:
    old_left, new_left = int(header[2] or 1), int(header[4] or 1)
    old: list[str] = []
    first = at
    at += 1
    while old_left > 0 or new_left > 0:
        if at >= len(lines):
            raise ConfigurationError(f"{name}:{first + 1}: the file ends inside this hunk")
        kind, text = lines[at][:1], lines[at][1:]
        if kind in (" ", ""):  # editors strip the blank of an empty context line
            old_left, new_left = old_left - 1, new_left - 1
            old.append(text)
        elif kind == "-":
            old_left -= 1
            old.append(text)
        elif kind == "+":
            new_left -= 1
        elif kind != "\\":
            raise ConfigurationError(
                f"{name}:{at + 1}: expected a line of the hunk that begins at line {first + 1} "
                f"(with ` `, `+` or `-` in front), found `{lines[at]}`"
            )
        at += 1
    if old_left < 0 or new_left < 0:
        raise ConfigurationError(f"{name}:{first + 1}: more lines than the hunk's header says")
    if at < len(lines) and lines[at].startswith("\\"):
        at += 1
    return Hunk(int(header[1]), tuple(old)), at
