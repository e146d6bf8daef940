# SPDX-License-Identifier: BSD-2-Clause
"""What one system adds to building a kernel from source."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.errors import ConfigurationError
from harness.kernels.source.hooks import HookCode
from harness.kernels.source.tree import BuildFolder
from harness.progress import Say


@dataclass(frozen=True)
class TreeKind:
    """How a system's source tree is told from another folder, and a clean one from a built one."""

    name: str
    marks: tuple[str, ...]
    """Files that every tree of it has."""
    without: Mapping[str, str] = field(default_factory=dict)
    """What a tree without one of them is, and what to do, where that is more than to be no tree of
    this kind."""
    built: tuple[str, ...] = ()
    """Files and folders that a build inside the tree leaves there; `*` is any name."""
    clean: str = "clean it"
    """What rids a tree of them, for people."""
    hook_code: HookCode | None = None
    """What makes named failpoints usable in it."""

    def require(self, has: Callable[[str], bool], what: str) -> None:
        """Raises ConfigurationError, beginning with `what`, for a tree of another kind.

        `has` tells whether the tree has a file, by its path.
        """
        for name in self.marks:
            if not has(name):
                is_what = self.without.get(name, f"is no {self.name} tree")
                raise ConfigurationError(f"{what} {is_what}: it has no {name}")

    def require_folder(self, folder: Path, what: str) -> None:
        """The same of an unpacked tree, which must not have been built in either."""
        self.require(lambda name: (folder / name).is_file(), what)
        found = (path for pattern in self.built for path in sorted(folder.glob(pattern)))
        if built := [str(path.relative_to(folder)) for path in found]:
            raise ConfigurationError(
                f"{what} holds what a build leaves behind ({', '.join(built)}), and cannot be "
                f"built elsewhere: {self.clean}; then commit or pack it anew"
            )

    def built_among(self, names: Iterable[str]) -> list[str]:
        """Of paths in a tree, those of files that a build has left."""
        if not self.built:
            return []
        patterns = (re.escape(pattern).replace(r"\*", "[^/]*") for pattern in self.built)
        of_a_build = re.compile(rf"(?:{'|'.join(patterns)})(?:/|\Z)")
        return [name for name in names if of_a_build.match(name)]


@dataclass(frozen=True)
class Built:
    """What a build has made: `files` are kept under their names, `image` among them is booted."""

    release: str
    files: Mapping[str, Path]
    module_files: tuple[Path, ...] = ()
    """Files to keep in lib/modules/<release>; without any, the kernel has no such folder."""


class Builder(Protocol):
    """One recipe's build but for its source and patches, which are the same for all systems."""

    @property
    def kind(self) -> TreeKind:
        """The trees that it builds."""
        ...

    @property
    def configuration(self) -> tuple[Path, ...]:
        """Files of the target's folder that the build goes by, for people."""
        ...

    @property
    def ingredients(self) -> Mapping[str, object]:
        """All that decides what comes out, as JSON can hold it: hashed into the kernel's key."""
        ...

    @property
    def slot(self) -> Sequence[object]:
        """What kernels must have in common to be built in one folder, one after the other."""
        ...

    def require_tools(self) -> None:
        """Raises InfrastructureError naming what is not installed, and the command for it."""
        ...

    def build(self, folder: BuildFolder, label: str, cache: Path, say: Say) -> Built:
        """Builds the kernel in a folder whose source is in place; incrementally where it can.

        Raises HarnessError: BuildFailedError with the log's first error.
        """
        ...
