# SPDX-License-Identifier: BSD-2-Clause
"""Coccinelle semantic patches: changes told by what the code does, for many kernel versions.

A semantic patch says in its first comment which files it is for:

    // files: mm/memory.c mm/swap_state.c
    // optional files: mm/ksm.c

Each of `files` must be there and be changed by it; of `optional files`, those that are there may be
changed. Language and program: coccinelle.gitlabpages.inria.fr/website, spatch(1).
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

_HEADER = re.compile(r"//\s*(optional\s+)?files?\s*:\s*(.*)", re.IGNORECASE)
# by their text alone: no header is read, so that the result depends on the file and nothing else
_OPTIONS = ["--very-quiet", "--no-show-diff", "--no-includes", "--in-place"]
_SECONDS = 300.0


@dataclass(frozen=True)
class SemanticPatch:
    """A semantic patch with the files, by their paths in the tree, that it is for."""

    file: Path
    needed: tuple[str, ...]
    optional: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All its files."""
        return (*self.needed, *self.optional)


def read_semantic_patch(file: Path) -> SemanticPatch:
    """Raises ConfigurationError for one that names no files, or one outside the tree."""
    needed: list[str] = []
    optional: list[str] = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("//"):
            break
        if found := _HEADER.match(line.strip()):
            for name in found[2].split():
                path = PurePosixPath(name)
                if path.is_absolute() or ".." in path.parts:
                    raise ConfigurationError(
                        f"{file}:{number}: expected a path in the tree such as mm/memory.c, "
                        f"found {name}"
                    )
                (optional if found[1] else needed).append(str(path))
    if not needed and not optional:
        raise ConfigurationError(
            f"{file}: does not say which files it is for: begin it with a comment such as "
            "`// files: mm/memory.c mm/ksm.c`"
        )
    return SemanticPatch(file, tuple(needed), tuple(optional))


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


def apply_semantic_patches(
    tree: Path, patched: PatchedFiles, patches: Sequence[SemanticPatch], cache: Path, say: Say
) -> PatchedFiles:
    """Applies the semantic patches in order to the tree with its `patched` files.

    Their results are added to `patched.folder`, and kept in the cache by the content of patch and
    file. Raises ConfigurationError for a patch with an error, one whose needed files are not all
    there and changed by it, and one that changes nothing.
    """
    names = set(patched.names)
    for patch in patches:
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
    return PatchedFiles(patched.folder, frozenset(names))


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
