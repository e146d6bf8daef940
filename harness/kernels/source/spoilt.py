# SPDX-License-Identifier: BSD-2-Clause
"""Builds that write into their sources in place: found, and what they have spoilt is not used.

A build folder's sources are hard links to the unpacked tree, so a tool that opens one for writing,
instead of putting a new file in its place, changes the cached tree and every build folder with it.
Kernels' builds write below their objects only; what a patch or an option adds may do anything.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from harness.errors import InfrastructureError
from harness.kernels.source.tree import BuildFolder, remove_tree

_SHOWN = 5


def refuse_spoilt(build: BuildFolder, pristine: Path) -> None:
    """Raises InfrastructureError where the last build has written through hard links.

    All that has those files is removed before, or compared with a tree unpacked anew by whoever
    builds in it next; this folder's sources will be copies.
    """
    names = _written_through(build)
    if not names:
        build.sources_are_intact()
        return
    spoilt = [build.source / name for name in names]
    for other in build.path.parent.iterdir():
        if other != build.path and _holds(other / "source", names, spoilt):
            BuildFolder(other).forget_origin()
    trees = {pristine, *(tree for tree in pristine.parent.iterdir() if tree.is_dir())}
    for tree in trees:
        if _holds(tree, names, spoilt):
            remove_tree(tree)
    build.copy_sources_from_now_on()
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    raise InfrastructureError(
        f"the build in {build.path} has written into its sources ({', '.join(names[:_SHOWN])}{more}"
        "), which other builds share. What it has changed was removed: run the command again, and "
        "it is unpacked anew, and copied for this build"
    )


def _written_through(build: BuildFolder) -> list[str]:
    """Files of the sources that have other names, too, and were written since they were set."""
    since, now = build.source_set_ns, time.time_ns()
    if since is None:
        return []
    found = []
    for folder, folders, names in os.walk(build.source):
        if folder == str(build.source) and build.objects.name in folders:
            folders.remove(build.objects.name)
        for name in names:
            status = os.lstat(f"{folder}/{name}")
            # a tree may come with times that are still to be
            if status.st_nlink > 1 and since <= status.st_mtime_ns <= now:
                found.append(str(Path(folder, name).relative_to(build.source)))
    return sorted(found)


def _holds(tree: Path, names: Sequence[str], spoilt: Sequence[Path]) -> bool:
    """Whether one of the files is the tree's, too."""
    for name, file in zip(names, spoilt, strict=True):
        try:
            if (tree / name).samefile(file):
                return True
        except OSError:  # no such tree, or file
            continue
    return False
