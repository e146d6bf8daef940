# SPDX-License-Identifier: BSD-2-Clause
"""[kernels.NAME.GUEST] of a target: where a kernel comes from."""

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from harness.plan.model import Model

_SOURCE_KINDS = ("package", "directory", "git", "tarball")
_SOURCE_COMPANIONS = {"suite": "package", "version": "package", "ref": "git", "sha256": "tarball"}
SOURCE_KEYS = (*_SOURCE_KINDS, *_SOURCE_COMPANIONS)
"""Of a source recipe: what names the tree, and not what is done to it."""
_REF = re.compile(r"[^-\s:][^\s:]*")

Fragments = Annotated[
    list[str],
    BeforeValidator(lambda given: [given] if isinstance(given, str) else given),
]
"""Names of config fragments; one may stand without a list, none is the harness's base as it is."""


class SourceRecipe(Model):
    """A kernel built from source: where the tree is, and what the target does to it."""

    package: str | None = Field(default=None, min_length=1)
    suite: str | None = Field(default=None, min_length=1)
    version: str | None = Field(default=None, pattern=r"^[0-9][A-Za-z0-9.+~:-]*$")
    """Of the package; without it, what the suite had when it was first fetched."""
    directory: str | None = Field(default=None, min_length=1)
    """Relative to the target's folder, as `git` and `tarball` are where they are paths."""
    git: str | None = Field(default=None, min_length=1)
    ref: str | None = None
    tarball: str | None = Field(default=None, min_length=1)
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    config: Fragments
    """Later fragments win."""
    patches: list[str] = []
    semantic_patches: list[str] = []
    hooks: list[str] = []
    """Semantic patches that put FAIL_POINT(name) into the tree, which gets the code for it."""
    compiler: str | None = None
    build_in: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """A guest whose image has the tools that the tree is built with: FreeBSD before release 13."""

    @property
    def origin(self) -> str:
        """Where the tree comes from, for people."""
        if self.git is not None:
            return f"{self.git}@{self.ref}"
        return str(self.package or self.directory or self.tarball)

    @model_validator(mode="after")
    def _one_origin(self) -> "SourceRecipe":
        given = [key for key in _SOURCE_KINDS if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(
                "the source must be one of `package` with `suite`, `directory`, `git` with `ref`, "
                f"`tarball` with `sha256`; found {' and '.join(given) or 'none of them'}"
            )
        for key, owner in _SOURCE_COMPANIONS.items():
            there = getattr(self, key) is not None
            if there and owner not in given:
                raise ValueError(f"`{key}` goes with `{owner}`, and the source is a `{given[0]}`")
            optional = key == "version" or (key == "sha256" and not is_url(str(self.tarball)))
            if not there and owner in given and not optional:
                raise ValueError(f"`{owner}` needs `{key}` beside it")
        if self.ref is not None and not _REF.fullmatch(self.ref):
            raise ValueError(f"`ref` must be a tag, a branch or a commit id; found {self.ref!r}")
        if self.git is not None and self.git.startswith("-"):
            raise ValueError(f"`git` must be a URL or a folder; found {self.git!r}")
        return self


def is_url(text: str) -> bool:
    """Whether a tarball or git repository is named by a URL (git's `host:path` too)."""
    return re.match(r"[a-z][a-z0-9+]+://|[^/\s]+:", text, re.IGNORECASE) is not None


class KernelRecipe(Model):
    """Where a kernel comes from: a package first, a source recipe as the way out."""

    package: str | None = None
    suite: str | None = None
    source: SourceRecipe | None = None
    append: list[str] = []
    """Words added to the guest's kernel command line: a switch between arms of one binary."""
    file: str | None = Field(default=None, min_length=1)
    """A kernel of the user's own: a bzImage, Image or vmlinux, FreeBSD's kernel.full or .bin."""
    modules: str | None = Field(default=None, min_length=1)
    """With `file`: its folder lib/modules/RELEASE."""
    vmlinux: str | None = Field(default=None, min_length=1)
    """With `file`: the same build as an ELF file with DWARF, for places in source lines."""
    binary_patch: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]+\.toml$")
    """The package's kernel is changed as this description in the target's folder says."""

    @model_validator(mode="after")
    def _something_to_boot(self) -> "KernelRecipe":
        if (self.package is None) != (self.suite is None):
            raise ValueError("`package` and `suite` go together")
        if self.package is None and self.source is None and self.file is None:
            raise ValueError("a kernel needs `package` and `suite`, a `source` table or a `file`")
        if self.modules is not None and self.file is None:
            raise ValueError("`modules` are those of a kernel `file`")
        if self.vmlinux is not None and self.file is None:
            raise ValueError("`vmlinux` is that of a kernel `file`")
        if self.binary_patch is not None and self.package is None:
            raise ValueError("`binary_patch` changes a packaged kernel: it goes with `package`")
        return self
