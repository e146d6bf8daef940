# SPDX-License-Identifier: BSD-2-Clause
"""Kernel trees named on the command line, in place of those that a target names."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.kernels.source.interrupt import interruptible
from harness.kernels.source.origin import find_commit
from harness.plan.kernel import SOURCE_KEYS, KernelRecipe, is_url
from harness.plan.load import Target
from harness.progress import Say

_FORMS = "DIR, DIR@REF, GIT-URL@REF, or either with @REF_BUGGY..REF_FIXED"


@dataclass(frozen=True)
class NamedTree:
    """One tree: a directory or tarball, or with `ref` a repository; paths are absolute.

    `commit` is what the ref was when the campaign began.
    """

    location: str
    ref: str | None = None
    commit: str | None = None

    def keys(self) -> dict[str, str | None]:
        """The keys of a source recipe that name this tree; all others of their kind are None."""
        none = dict.fromkeys(SOURCE_KEYS)
        if self.ref is not None:
            return none | {"git": self.location, "ref": self.commit or self.ref}
        kind = "tarball" if Path(self.location).is_file() else "directory"
        return none | {kind: self.location}


@dataclass(frozen=True)
class SourceOverride:
    """`every` is for all kernels that the target builds from source, with the target's patches;
    `buggy` and `fixed` for the kernel of that arm, which is then built without them."""

    every: NamedTree | None = None
    buggy: NamedTree | None = None
    fixed: NamedTree | None = None

    def as_json(self) -> dict[str, Any]:
        """For campaign.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any] | None) -> "SourceOverride | None":
        """What `as_json` wrote."""
        if record is None:
            return None
        return cls(**{name: NamedTree(**tree) if tree else None for name, tree in record.items()})


def parse_sources(
    source: str | None, buggy: str | None, fixed: str | None
) -> SourceOverride | None:
    """The options --source, --source-buggy and --source-fixed; None where none is given.

    Relative paths are the caller's. Raises UsageError that names the option.
    """
    if source is None and buggy is None and fixed is None:
        return None
    every = _parse(source, "--source") if source is not None else None
    if every is not None and every.ref is not None and ".." in every.ref:
        if buggy is not None or fixed is not None:
            raise UsageError("--source with REF_BUGGY..REF_FIXED names both arms' trees already")
        ends = every.ref.split("..")
        if len(ends) != 2 or not all(ends) or ends[1].startswith("."):
            raise UsageError(
                f"--source: expected REF_BUGGY..REF_FIXED, found {every.ref!r} in {source}"
            )
        return SourceOverride(buggy=replace(every, ref=ends[0]), fixed=replace(every, ref=ends[1]))
    return SourceOverride(
        every,
        _parse(buggy, "--source-buggy") if buggy is not None else None,
        _parse(fixed, "--source-fixed") if fixed is not None else None,
    )


def pinned(override: SourceOverride, cache: Path, say: Say) -> SourceOverride:
    """The same with the commits that the refs are now, so that a branch may move on meanwhile.

    Raises ConfigurationError, InfrastructureError.
    """

    def pin(tree: NamedTree | None) -> NamedTree | None:
        if tree is None or tree.ref is None or tree.commit is not None:
            return tree
        with interruptible():
            commit = find_commit(tree.location, tree.ref, Path(), cache, say).id
        say(f"{tree.location}: {tree.ref} is {commit}")
        return replace(tree, commit=commit)

    return SourceOverride(pin(override.every), pin(override.buggy), pin(override.fixed))


def kernel_recipes(
    target: Target, guest: str, override: SourceOverride | None
) -> dict[str, KernelRecipe]:
    """The target's kernels on a guest, with what the user named in place of their sources.

    A kernel without a `source` table is the target's own in any case. Raises UsageError where the
    override has no kernel to hold for.
    """
    recipes = {name: on[guest] for name, on in target.model.kernels.items() if guest in on}
    if override is None:
        return recipes
    from_source = [name for name, recipe in recipes.items() if recipe.source is not None]
    if not from_source:
        raise UsageError(
            f"--source: the target {target.name} builds no kernel from source on {guest}: no "
            f"kernels.*.{guest} in {target.file} has a `source` table, which would name the "
            "configuration to build a tree with"
        )
    trees = {name: (override.every, True) for name in from_source if override.every}
    used = {arm.name: arm.kernel for arm in target.model.arms_on(guest)}
    if override.buggy and override.fixed and used["buggy"] == used["fixed"]:
        raise UsageError(
            f"the target {target.name} has one kernel, {used['buggy']}, for its arms buggy and "
            "fixed: they cannot be two builds"
        )
    for arm, tree in (("buggy", override.buggy), ("fixed", override.fixed)):
        if tree is not None:
            if used[arm] not in from_source:
                raise UsageError(
                    f"--source-{arm}: kernels.{used[arm]}.{guest} in {target.file} has no "
                    "`source` table, which would name the configuration to build a tree with"
                )
            trees[used[arm]] = (tree, False)
    return recipes | {name: _on(recipes[name], *what) for name, what in trees.items()}


def _on(recipe: KernelRecipe, tree: NamedTree, patched: bool) -> KernelRecipe:
    assert recipe.source is not None
    changes: dict[str, object] = dict(tree.keys())
    if not patched:
        # the bug is in the tree itself; semantic patches are hooks, and stay
        changes["patches"] = []
    source = recipe.source.model_copy(update=changes)
    return recipe.model_copy(update={"package": None, "suite": None, "source": source})


def _parse(text: str, option: str) -> NamedTree:
    location, ref = _split(text)
    if ref is not None and not re.fullmatch(r"[^-\s:][^\s:]*", ref):
        raise UsageError(f"{option}: {ref!r} in {text} is no ref; expected {_FORMS}")
    if is_url(location):
        if ref is None:
            raise UsageError(f"{option}: {text} needs a ref: {text}@v6.1, say; expected {_FORMS}")
        return NamedTree(location, ref)
    path = Path(location).expanduser().absolute()
    if not path.exists():
        raise UsageError(f"{option}: there is no {path}; expected {_FORMS}")
    if ref is None and (path / "objects").is_dir() and (path / "HEAD").is_file():
        raise UsageError(f"{option}: {path} is a bare repository: name a ref too, {text}@v6.1, say")
    if ref is not None and not path.is_dir():
        raise UsageError(f"{option}: {path} is no repository, and cannot have the ref {ref}")
    return NamedTree(str(path), ref)


def _split(text: str) -> tuple[str, str | None]:
    """Location and ref; an `@` may also be a path's or a user's (ssh://me@host/linux.git)."""
    if Path(text).expanduser().exists():
        return text, None
    begin = 0
    if is_url(text):
        host = text.find("://")
        begin = text.find("/", host + 3) if host >= 0 else text.find(":")
    else:
        for at in (found.start() for found in re.finditer("@", text)):
            if Path(text[:at]).expanduser().exists():
                return text[:at], text[at + 1 :]
    at = text.find("@", max(begin, 0))
    return (text, None) if at < 0 else (text[:at], text[at + 1 :])
