# SPDX-License-Identifier: BSD-2-Clause
"""Kernel trees unpacked into the cache, each once: from packages, tarballs and commits."""

import time
from collections.abc import Callable
from pathlib import Path

from harness.errors import ConfigurationError
from harness.kernels.apt import Package, unpack
from harness.kernels.source.builder import TreeKind
from harness.kernels.source.command import CommandError, run
from harness.kernels.source.lock import locked
from harness.kernels.source.tree import remove_tree
from harness.progress import Say


def make_tree_once(tree: Path, what: str, say: Say, fill: Callable[[Path], None]) -> Path:
    """The folder `tree`, filled under another name and renamed, unless it is there already.

    `what` is for people. Raises what `fill` raises; then, as after a kill, the folder is not there.
    """
    if tree.is_dir():
        return tree
    with locked(tree.with_name(f"{tree.name}.lock"), f"the source {what}", say):
        if tree.is_dir():
            return tree
        say(f"unpacking {what}")
        began = time.monotonic()
        unfinished = tree.with_name(f".{tree.name}")
        remove_tree(unfinished)
        unfinished.mkdir(parents=True)
        try:
            fill(unfinished)
        except BaseException:
            remove_tree(unfinished)
            raise
        # a crash must not leave a tree whose name is on the disk and whose files are not
        run(["sync", "-f", str(unfinished)])
        unfinished.rename(tree)
        say(f"unpacked {what} in {time.monotonic() - began:.0f} s")
    return tree


def unpack_package(package: Package, into: Path, kind: TreeKind) -> None:
    """The tree in a linux-source package.

    Raises ConfigurationError where the package holds none, InfrastructureError.
    """
    files = into / ".package"
    unpack(package, files)
    tarballs = sorted((files / "usr/src").glob("linux-source-*.tar*"))
    if len(tarballs) != 1:
        raise ConfigurationError(
            f"the package {package.identity} should hold one usr/src/linux-source-*.tar.*, "
            f"and holds {len(tarballs)}: name a package such as linux-source-6.1"
        )
    run(["tar", "-xf", str(tarballs[0]), "--strip-components=1", "-C", str(into)])
    remove_tree(files)
    kind.require_folder(into, f"{tarballs[0].name} of {package.identity}")


def unpack_tarball(tarball: Path, into: Path, kind: TreeKind, where: str) -> None:
    """The tree in a tarball, with or without folders around it (FreeBSD's has usr/src).

    Raises ConfigurationError, beginning with `where`, for one that is damaged or no kernel's.
    """
    try:
        run(["tar", "-xf", str(tarball), "--no-same-owner", "-C", str(into)])
    except CommandError as error:
        raise ConfigurationError(f"{where}: {tarball} cannot be unpacked: {error.said}") from error
    while len(found := list(into.iterdir())) == 1 and found[0].is_dir():
        (around,) = found
        # no file of the tree may have the folder's name while it moves up
        around = around.rename(into / ".around")
        for path in around.iterdir():
            path.rename(into / path.name)
        around.rmdir()
    kind.require_folder(into, f"{where}: {tarball}")
