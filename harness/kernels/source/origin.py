# SPDX-License-Identifier: BSD-2-Clause
"""Where a kernel's tree comes from: a package, a directory, a commit or a tarball, all alike."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from harness.errors import ConfigurationError
from harness.files import file_hash
from harness.kernels.apt import fetch_package
from harness.kernels.packaged import DEBIAN_ARCHITECTURES
from harness.kernels.source.archives import (
    make_tree_once,
    unpack_package,
    unpack_tarball,
)
from harness.kernels.source.builder import TreeKind
from harness.kernels.source.directory import copy_directory, directory_state
from harness.kernels.source.download import download
from harness.kernels.source.git import (
    Commit,
    export,
    local_commit,
    remote_commit,
    repository_stem,
)
from harness.plan.kernel import SourceRecipe, is_url
from harness.progress import Say

_SHORT = 12
"""Digits of a commit id for people, as the kernel's developers write them."""


@dataclass(frozen=True)
class Origin:
    """A kernel tree that is known, and can be had in the cache."""

    name: str
    """Names the tree and its kernels in the cache."""
    family: str
    """Names build folders: the same for all states of one directory or repository."""
    lineage: str
    """What `family` stands for, exactly: build folders of one lineage may be shared."""
    digest: str
    """Of the content."""
    label: str
    source: str
    """The label in full, for records."""
    commit: str | None
    tree: Callable[[Say], Path]
    """The tree, unpacked into the cache once and never changed. Raises HarnessError."""


def find_origin(
    recipe: SourceRecipe, kind: TreeKind, folder: Path, cache: Path, say: Say
) -> Origin:
    """What the recipe's source is now, fetched if it must be: a tree of that kind.

    Paths in the recipe are relative to `folder`, the target's. Raises PackageUnavailableError,
    ConfigurationError that names the recipe's key, InfrastructureError.
    """
    if recipe.package is not None and recipe.suite is not None:
        return _of_package(recipe.package, recipe.suite, recipe.version, kind, cache, say)
    if recipe.directory is not None:
        return _of_directory(folder / Path(recipe.directory).expanduser(), kind, cache)
    if recipe.git is not None and recipe.ref is not None:
        return _of_commit(recipe.git, recipe.ref, kind, folder, cache, say)
    if recipe.tarball is not None:
        return _of_tarball(recipe.tarball, recipe.sha256, kind, folder, cache, say)
    raise ConfigurationError("a source recipe without a source")


def find_commit(git: str, ref: str, folder: Path, cache: Path, say: Say) -> Commit:
    """The commit that a repository's ref is now. Raises as `find_origin`."""
    where = f"the source git = {git!r}, ref = {ref!r}"
    if is_url(git):
        return remote_commit(git, ref, cache, where, say)
    return local_commit(folder / Path(git).expanduser(), ref, where)


def _of_package(
    name: str, suite: str, version: str | None, kind: TreeKind, cache: Path, say: Say
) -> Origin:
    # source packages are for all architectures, but a suite may lack the kernel's
    package = fetch_package(name, suite, DEBIAN_ARCHITECTURES["x86_64"], cache, say, version)
    # an epoch's colon would end a name in PATH-like lists
    in_cache = f"{package.name}-{package.version.replace(':', '%3a')}"
    tree = cache / "sources" / f"{package.name}-{package.sha256[:16]}"
    return Origin(
        name=in_cache,
        family=in_cache,
        lineage=package.sha256,
        digest=package.sha256,
        label=package.identity,
        source=f"package {package.identity} of {suite}",
        commit=None,
        tree=lambda say: make_tree_once(
            tree, package.identity, say, lambda into: unpack_package(package, into, kind)
        ),
    )


def _of_directory(directory: Path, kind: TreeKind, cache: Path) -> Origin:
    where = f"the source directory = {str(directory)!r}"
    state = directory_state(directory, kind, where)
    directory = directory.resolve()
    stem = repository_stem(str(directory))
    home = f"directory-{stem}-{sha256(str(directory).encode()).hexdigest()[:8]}"
    tree = cache / "sources" / f"{home}-{state.digest[:16]}"
    label, source = stem, f"directory {directory}"
    if state.commit is not None:
        changes = " with changes" if state.changed else ""
        label += f" {state.commit[:_SHORT]}{changes}"
        source += f" at {state.commit}{changes}"
    else:
        label += f" (files {state.digest[:_SHORT]})"
    memory = cache / "sources" / f"{home}.json"
    return Origin(
        name=f"{home}-{state.digest[:_SHORT]}",
        family=home,
        lineage=f"directory {directory}",
        digest=f"directory {state.digest}",
        label=label,
        source=source,
        commit=state.commit,
        tree=lambda say: make_tree_once(
            tree,
            f"the directory {directory}",
            say,
            lambda into: copy_directory(state, kind, into, memory, where, say),
        ),
    )


def _of_commit(git: str, ref: str, kind: TreeKind, folder: Path, cache: Path, say: Say) -> Origin:
    commit = find_commit(git, ref, folder, cache, say)
    stem = repository_stem(git if is_url(git) else str((folder / git).resolve()))
    named = "" if commit.id.startswith(ref) else f" {ref}"
    tree = cache / "sources" / f"git-{commit.id}"

    def fill(into: Path) -> None:
        export(commit, into)
        kind.require_folder(into, f"the commit {commit.id} of {git}")

    return Origin(
        name=f"git-{commit.id[:_SHORT]}",
        family=f"git-{stem}",
        lineage=f"git {git if is_url(git) else commit.repository.resolve()}",
        digest=f"git {commit.id}",
        label=f"{stem}{named} {commit.id[:_SHORT]}",
        source=f"commit {commit.id} ({ref}) of {git}",
        commit=commit.id,
        tree=lambda say: make_tree_once(tree, f"{stem}{named} {commit.id[:_SHORT]}", say, fill),
    )


def _of_tarball(
    tarball: str, checksum: str | None, kind: TreeKind, folder: Path, cache: Path, say: Say
) -> Origin:
    where = f"the source tarball = {tarball!r}"
    if is_url(tarball) and checksum is not None:
        file = download(tarball, checksum, cache / "packages/tarballs", where, say)
    else:
        file = folder / Path(tarball).expanduser()
        if not file.is_file():
            raise ConfigurationError(f"{where}: there is no file {file}")
        found = file_hash(file)
        if checksum not in (None, found):
            raise ConfigurationError(
                f"{where}: the SHA-256 of {file} should be {checksum} (`sha256`) and is {found}"
            )
        checksum = found
    name = repository_stem(tarball.partition("?")[0]).partition(".tar")[0]
    tree = cache / "sources" / f"tarball-{checksum[:16]}"
    return Origin(
        name=f"tarball-{name}",
        family=f"tarball-{name}",
        lineage=checksum,
        digest=checksum,
        label=name,
        source=f"tarball {tarball}, SHA-256 {checksum}",
        commit=None,
        tree=lambda say: make_tree_once(
            tree, name, say, lambda into: unpack_tarball(file, into, kind, where)
        ),
    )
