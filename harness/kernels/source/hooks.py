# SPDX-License-Identifier: BSD-2-Clause
"""Named failpoints put into a tree by semantic patches: the code behind them, and its includes.

Works for any version: files are added, lines are appended, and the files in which hooks use a
failpoint get an #include; nothing depends on what stands around.
"""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from harness.errors import ConfigurationError
from harness.files import file_hash
from harness.kernels.source.patches import PatchedFiles
from harness.kernels.source.semantic import SemanticPatch

_IF = re.compile(r"\s*#\s*if")
_ENDIF = re.compile(r"\s*#\s*endif\b")
_ANY_INCLUDE = re.compile(r"\s*#\s*include\b")


@dataclass(frozen=True)
class HookCode:
    """What a system's tree is given so that hooks can be used in it; paths are in the tree."""

    files: Mapping[str, Path]
    appended: Mapping[str, str]
    """Lines added at the end of files of the tree."""
    include: str
    """The line that a file with a hook needs."""
    use: str
    """A regular expression: lines that use a hook."""

    @cached_property
    def digest(self) -> str:
        """Names the content."""
        parts = [f"{name}\0{file_hash(file)}" for name, file in self.files.items()]
        parts += [f"{name}\0{line}" for name, line in self.appended.items()]
        return sha256("\0".join([*parts, self.include, self.use]).encode()).hexdigest()

    def add(self, tree: Path, patched: PatchedFiles) -> PatchedFiles:
        """Adds the code to the tree's patched files.

        Raises ConfigurationError where the tree has such a file of its own, or lacks one that is
        to be appended to.
        """
        for name, file in self.files.items():
            if (tree / name).exists() or name in patched.names:
                raise ConfigurationError(
                    f"the recipe's `hooks` add {name}, and this kernel has a file of that name: "
                    "leave `hooks` out and name its semantic patches under `semantic_patches`"
                )
            copy = patched.folder / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        for name, line in self.appended.items():
            copy = patched.folder / name
            if name not in patched.names:
                if not (tree / name).is_file():
                    raise ConfigurationError(f"`hooks`: this kernel has no {name} to add to")
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(tree / name, copy)
            text = copy.read_text(encoding="utf-8", errors="surrogateescape")
            copy.write_text(
                f"{text.rstrip()}\n{line}\n", encoding="utf-8", errors="surrogateescape"
            )
        return PatchedFiles(patched.folder, patched.names | {*self.files, *self.appended})

    def include_where_used(self, patched: PatchedFiles, hooks: Sequence[SemanticPatch]) -> None:
        """Gives the hooks' files, where they use one, the #include for it.

        Raises ConfigurationError where such a file has no place for it.
        """
        use = re.compile(self.use, re.MULTILINE)
        for name in sorted({name for hook in hooks for name in hook.names} & patched.names):
            file = patched.folder / name
            if not file.is_file():
                continue
            text = file.read_text(encoding="utf-8", errors="surrogateescape")
            if use.search(text) and self.include not in text:
                file.write_text(
                    _with_include(text, self.include, name),
                    encoding="utf-8",
                    errors="surrogateescape",
                )


def _with_include(text: str, include: str, name: str) -> str:
    """Behind the first #include that is not conditional: what the file defines for its headers
    (pr_fmt) stands before that."""
    lines = text.split("\n")
    depth = 0
    for number, line in enumerate(lines):
        if _IF.match(line):
            depth += 1
        elif _ENDIF.match(line):
            depth -= 1
        elif depth == 0 and _ANY_INCLUDE.match(line):
            return "\n".join([*lines[: number + 1], include, *lines[number + 1 :]])
    raise ConfigurationError(f"{name}: has a hook, but no #include to put `{include}` behind")
