# SPDX-License-Identifier: BSD-2-Clause
"""Coccinelle semantic patches: changes told by what the code does, for many kernel versions.

A semantic patch says in its first comment which files it is for:

    // files: mm/memory.c mm/swap_state.c
    // optional files: mm/ksm.c

Each of `files` must be there and be changed by it; of `optional files`, those that are there may be
changed. One of several rules that matches nothing is no error to spatch: what the patch is for is
said by promises. Which trees need it is said by conditions. Both are about a text of one line:

    // adds to mm/memory.c: swapin_looked_up(page);
    // takes from mm/memory.c: lock_page(page);
    // only where mm/memory.c has: old_swapin(
    // not where mm/memory.c has: new_swapin(

Language and program: coccinelle.gitlabpages.inria.fr/website, spatch(1).
"""

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath

from harness.errors import ConfigurationError, InfrastructureError
from harness.files import make_folder_once
from harness.kernels.source.patches import PatchedFiles
from harness.progress import Say

_FORMAT = 1
"""Goes into the key of every cached result; raise it when the same input gives another."""

_PROMISE = re.compile(r"//\s*(adds to|takes from)\s+([^\s:]+)\s*:\s*(.+)", re.IGNORECASE)
_CONDITION = re.compile(r"//\s*(only|not)\s+where\s+(\S+)\s+has\s*:\s*(.+)", re.IGNORECASE)
_HEADER = re.compile(r"//\s*(optional\s+)?files?\s*:\s*(.*)", re.IGNORECASE)
# by their text alone: no header is read, so that the result depends on the file and nothing else
_OPTIONS = ["--very-quiet", "--no-show-diff", "--no-includes", "--in-place"]
_SECONDS = 300.0


@dataclass(frozen=True)
class Promise:
    """That a file has a text more often (`adds`) or more seldom after the patch than before it."""

    name: str
    text: str
    adds: bool

    def kept(self, before: str, after: str) -> bool:
        """Whether that is so of these contents."""
        change = after.count(self.text) - before.count(self.text)
        return change > 0 if self.adds else change < 0


@dataclass(frozen=True)
class Condition:
    """That a tree needs the patch only where a file has a text, or only where it has it not."""

    name: str
    text: str
    wanted: bool


@dataclass(frozen=True)
class SemanticPatch:
    """A semantic patch with the files, by their paths in the tree, that it is for."""

    file: Path
    needed: tuple[str, ...]
    optional: tuple[str, ...]
    promises: tuple[Promise, ...] = ()
    conditions: tuple[Condition, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All its files."""
        return (*self.needed, *self.optional)


def read_semantic_patch(file: Path) -> SemanticPatch:
    """Raises ConfigurationError for one that names no files, or one outside the tree."""
    needed: list[str] = []
    optional: list[str] = []
    promises: list[Promise] = []
    conditions: list[Condition] = []
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{file}: is no UTF-8 text: {error}") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("//"):
            break
        where = f"{file}:{number}"
        if found := _PROMISE.match(line.strip()):
            adds = found[1].lower() == "adds to"
            promises.append(Promise(_in_tree(found[2], where), found[3], adds))
        elif found := _CONDITION.match(line.strip()):
            wanted = found[1].lower() == "only"
            conditions.append(Condition(_in_tree(found[2], where), found[3], wanted))
        elif found := _HEADER.match(line.strip()):
            names = [_in_tree(name, where) for name in found[2].split()]
            (optional if found[1] else needed).extend(names)
    if not needed and not optional:
        raise ConfigurationError(
            f"{file}: does not say which files it is for: begin it with a comment such as "
            "`// files: mm/memory.c mm/ksm.c`"
        )
    for promise in promises:
        if promise.name not in (*needed, *optional):
            raise ConfigurationError(
                f"{file}: promises something of {promise.name}, which is none of its files"
            )
    return SemanticPatch(file, tuple(needed), tuple(optional), tuple(promises), tuple(conditions))


def spatch_identity() -> str:
    """What spatch calls itself. Raises InfrastructureError where it is not installed."""
    if shutil.which("spatch") is None:
        raise InfrastructureError(
            "the recipe's `semantic_patches` need what is not installed here: spatch "
            "(coccinelle)\n  apt-get install --no-install-recommends coccinelle"
        )
    done = subprocess.run(["spatch", "--version"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise InfrastructureError(f"`spatch --version` fails: {done.stderr.strip()}")
    return done.stdout.partition("\n")[0]


def needed_patches(
    tree: Path, patched: PatchedFiles, patches: Sequence[SemanticPatch], say: Say
) -> list[SemanticPatch]:
    """Those whose conditions the tree with its `patched` files meets; the others are said.

    A condition on a file that is not there is that of one without the text.
    """
    needed = []
    for patch in patches:
        for condition in patch.conditions:
            content = _content(tree, patched, condition.name)
            if (condition.text in content) != condition.wanted:
                has = "has no" if condition.wanted else "has"
                say(f"{patch.file.name} is left out: {condition.name} {has} `{condition.text}`")
                break
        else:
            needed.append(patch)
    return needed


def apply_semantic_patches(
    tree: Path, patched: PatchedFiles, patches: Sequence[SemanticPatch], cache: Path, say: Say
) -> PatchedFiles:
    """Applies the semantic patches in order to the tree with its `patched` files.

    Their results are added to `patched.folder`, and kept in the cache by the content of patch and
    file. Raises ConfigurationError for a patch with an error, one whose needed files are not all
    there and changed by it, one that changes nothing, and one that does not do what it promises.
    """
    names = set(patched.names)
    for patch in patches:
        before = {promise.name: _content(tree, patched, promise.name) for promise in patch.promises}
        changed = []
        for name in patch.names:
            copy = patched.folder / name
            if name not in names and (tree / name).is_file():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(tree / name, copy)
            if not copy.is_file():
                if name in patch.needed:
                    raise ConfigurationError(
                        f"{patch.file}: is for {name}, which this kernel does not have"
                    )
                continue
            names.add(name)
            if _apply(patch.file, name, copy, cache, say):
                changed.append(name)
            elif name in patch.needed:
                raise ConfigurationError(
                    f"{patch.file}: changes nothing in {name}: nothing there matches its rules "
                    f"(`spatch --sp-file {patch.file.name} --debug {name}` shows what is tried; "
                    f"`spatch --parse-c {name}`, what Coccinelle cannot read)"
                )
        if not changed:
            raise ConfigurationError(
                f"{patch.file}: changes nothing: of its files ({', '.join(patch.names)}), none is "
                "there and matches its rules"
            )
        for promise in patch.promises:
            after = _content(tree, patched, promise.name)
            if not promise.kept(before[promise.name], after):
                verb = "add" if promise.adds else "take away"
                raise ConfigurationError(
                    f"{patch.file}: should {verb} `{promise.text}` in {promise.name}, and does "
                    "not: one of its rules matches nothing in this tree"
                )
    return PatchedFiles(patched.folder, frozenset(names))


def _in_tree(name: str, where: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ConfigurationError(
            f"{where}: expected a path in the tree such as mm/memory.c, found {name}"
        )
    return str(path)


def _content(tree: Path, patched: PatchedFiles, name: str) -> str:
    """A file as it is now; empty where it is not there."""
    copy = patched.folder / name
    file = copy if copy.exists() or name in patched.names else tree / name
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def _apply(patch: Path, name: str, copy: Path, cache: Path, say: Say) -> bool:
    """Whether the semantic patch changes the file, which is then the result."""
    before = copy.read_bytes()
    ingredients = [str(_FORMAT), spatch_identity(), *_OPTIONS]
    digest = sha256("\0".join(ingredients).encode())
    for content in (patch.read_bytes(), before):
        digest.update(sha256(content).digest())
    kept = cache / "semantic" / digest.hexdigest()[:32]
    result = make_folder_once(kept, lambda into: _spatch(patch, name, before, into, say)) / "result"
    after = result.read_bytes()
    if after == before:
        return False
    # in place, so that the mode stays
    copy.write_bytes(after)
    return True


def _spatch(patch: Path, name: str, content: bytes, into: Path, say: Say) -> None:
    say(f"applying {patch.name} to {name}")
    # spatch goes by the name's end, and names the file in what it says
    file = into / PurePosixPath(name).name
    file.write_bytes(content)
    argv = ["spatch", "--sp-file", str(patch.resolve()), *_OPTIONS, file.name]
    try:
        done = subprocess.run(
            argv,
            cwd=into,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigurationError(
            f"{patch}: spatch was not done with {name} after {_SECONDS:.0f} s: narrow its rules"
        ) from error
    if done.returncode != 0:
        said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise ConfigurationError(
            f"{patch}: spatch cannot apply it to {name}:\n  " + "\n  ".join(said[:12])
        )
    file.rename(into / "result")
