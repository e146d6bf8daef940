# SPDX-License-Identifier: BSD-2-Clause
"""Kernels built from source: a tree, a target's patches, a system's builder, and the cache."""

import json
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from os import fsync
from pathlib import Path

from harness.errors import ConfigurationError, HarnessError, InfrastructureError
from harness.files import disk_errors_named, file_hash, make_folder_once
from harness.kernels.kernel import Kernel
from harness.kernels.source.builder import Builder
from harness.kernels.source.interrupt import interruptible
from harness.kernels.source.lock import locked
from harness.kernels.source.origin import Origin, find_origin
from harness.kernels.source.patches import FileChange, apply_patches, parse_patch
from harness.kernels.source.process import BuildFailedError
from harness.kernels.source.semantic import (
    SemanticPatch,
    apply_semantic_patches,
    needed_patches,
    read_semantic_patch,
    spatch_identity,
)
from harness.kernels.source.spoilt import refuse_spoilt
from harness.kernels.source.tree import BuildFolder
from harness.plan.kernel import SourceRecipe
from harness.progress import Say

_SHOWN_FILES = 8
_FORMAT = 3
"""Goes into every kernel's key; raise it when the same recipe builds another kernel than before."""


def built_kernel(
    recipe: SourceRecipe, builder: Builder, folder: Path, cache: Path, say: Say
) -> Kernel:
    """The kernel of a source recipe, from the cache or built.

    `folder` has the recipe's patches. What is built is cached by the
    content of all that it is made of. Raises PackageUnavailableError where no mirror has the
    source; ConfigurationError for a source or patch that cannot be used and what the builder finds
    wrong; InfrastructureError for missing tools, a source out of reach and failed builds, with the
    build's first error and the log's path.
    """
    patches = [file_inside(folder, name, "patch") for name in recipe.patches]
    changes = [change for patch in patches for change in _changes(patch)]
    semantic = [
        read_semantic_patch(file_inside(folder, name, "semantic patch"))
        for name in recipe.semantic_patches
    ]
    hooks = [read_semantic_patch(file_inside(folder, name, "hook")) for name in recipe.hooks]
    if hooks and builder.kind.hook_code is None:
        raise ConfigurationError(
            f"{builder.kind.name} has no code for `hooks`: name them under `semantic_patches`"
        )
    spatch = spatch_identity() if semantic or hooks else None
    with interruptible():
        origin = find_origin(recipe, builder.kind, folder, cache, say)
    order = _Order(
        origin=origin,
        builder=builder,
        patches=tuple(patches),
        changes=tuple(changes),
        semantic=tuple(semantic),
        hooks=tuple(hooks),
        spatch=spatch,
        target=folder.name or "run",  # `harness run` has no folder but the root
    )
    kept = cache / "kernels" / f"{origin.name}-{order.key}"
    if (kernel := _read(kept, order)) is not None:
        return kernel
    builder.require_tools()
    build = BuildFolder(cache / "builds" / f"{origin.family}-{order.target}-{order.slot}")
    with (
        interruptible(),
        disk_errors_named(build.path),
        locked(build.path.with_name(f"{build.path.name}.lock"), order.label, say),
    ):
        if (kernel := _read(kept, order)) is not None:
            return kernel
        # damaged, or of builds that were killed: nobody else writes here while the lock is held
        leftovers = [kept, *kept.parent.glob(f".{kept.name}.*"), *build.path.glob("patched-*")]
        for leftover in leftovers:
            shutil.rmtree(leftover, ignore_errors=True)
        _build(order, build, cache, kept, say)
    kernel = _read(kept, order)
    if kernel is None:
        raise InfrastructureError(f"{kept} was written, but cannot be read back: is the disk full?")
    return kernel


def file_inside(folder: Path, name: str, what: str) -> Path:
    """A file of the target's folder. Raises ConfigurationError where it is not there."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ConfigurationError(f"the {what} {name!r} lies outside the target's folder {folder}")
    if not path.is_file():
        alike = sorted(p.name for p in folder.glob(f"*{path.suffix}") if p.is_file())
        there = ", ".join(alike) or "none"
        raise ConfigurationError(f"no {what} {path}; files of that kind there: {there}")
    return path


@dataclass(frozen=True)
class _Order:
    """All that decides what comes out of a build, and what people call it."""

    origin: Origin
    builder: Builder
    patches: tuple[Path, ...]
    changes: tuple[FileChange, ...]
    semantic: tuple[SemanticPatch, ...]
    hooks: tuple[SemanticPatch, ...]
    spatch: str | None
    target: str

    @property
    def label(self) -> str:
        """For people: the source and what the target adds to it."""
        added = (
            *self.builder.configuration,
            *self.patches,
            *(patch.file for patch in (*self.semantic, *self.hooks)),
        )
        names = ", ".join(path.name for path in added)
        return f"{self.origin.label} ({names})" if names else self.origin.label

    @property
    def changed_names(self) -> list[str]:
        """Files of the tree that the target's patches are for."""
        names = [change.path for change in self.changes]
        return [*names, *(name for patch in (*self.semantic, *self.hooks) for name in patch.names)]

    @cached_property
    def ingredients(self) -> dict[str, object]:
        """The content that the key is the hash of."""
        ingredients: dict[str, object] = {
            "format": _FORMAT,
            "system": self.builder.kind.name,
            "source": self.origin.digest,
            "patches": [file_hash(patch) for patch in self.patches],
        }
        if self.semantic:
            hashes = [file_hash(patch.file) for patch in self.semantic]
            ingredients |= {"spatch": self.spatch, "semantic_patches": hashes}
        if self.hooks and self.builder.kind.hook_code is not None:
            ingredients |= {
                "spatch": self.spatch,
                "hooks": [file_hash(hook.file) for hook in self.hooks],
                "hook_code": self.builder.kind.hook_code.digest,
            }
        return ingredients | dict(self.builder.ingredients)

    @cached_property
    def key(self) -> str:
        """Names the kernel: the same key is the same kernel."""
        return _digest(self.ingredients)

    @property
    def slot(self) -> str:
        """Names the folder that the kernel is built in: shared by what differs only in patches and
        what the builder lets differ."""
        return _digest([_FORMAT, self.origin.lineage, *self.builder.slot])


def _build(order: _Order, build: BuildFolder, cache: Path, kept: Path, say: Say) -> None:
    began = time.monotonic()
    pristine = order.origin.tree(say)
    build.path.mkdir(parents=True, exist_ok=True)
    refuse_spoilt(build, pristine)  # by a build that was broken off
    with tempfile.TemporaryDirectory(prefix="patched-", dir=build.path) as scratch:
        patched = apply_patches(pristine, order.patches, Path(scratch))
        semantic = needed_patches(pristine, patched, order.semantic, say)
        hooks = needed_patches(pristine, patched, order.hooks, say)
        left_out = [p for p in (*order.semantic, *order.hooks) if p not in (*semantic, *hooks)]
        patched = apply_semantic_patches(pristine, patched, semantic, cache, say)
        if hooks and (code := order.builder.kind.hook_code) is not None:
            patched = code.add(pristine, patched)
            patched = apply_semantic_patches(pristine, patched, hooks, cache, say)
            code.include_where_used(patched, hooks)
        if changed := build.set_source(pristine, patched):
            shown = ", ".join(changed[:_SHOWN_FILES])
            more = len(changed) - _SHOWN_FILES
            say(f"changed in the source: {shown}" + (f" and {more} more" if more > 0 else ""))
    try:
        built = order.builder.build(build, order.label, cache, say)
    except BuildFailedError as error:
        refuse_spoilt(build, pristine)
        raise _explained(order, error) from error
    refuse_spoilt(build, pristine)
    seconds = time.monotonic() - began
    files = {**built.files, "build.log": build.log}
    files |= {f"{_modules(built.release)}/{path.name}": path for path in built.module_files}
    record = order.ingredients | {
        "label": order.label,
        "release": built.release,
        "has_modules": bool(built.module_files),
        "origin": order.origin.source,
        "commit": order.origin.commit,
        "patch_files": [patch.name for patch in order.patches],
        "left_out": [patch.file.name for patch in left_out],
        "seconds": round(seconds, 1),
    }
    make_folder_once(kept, lambda into: _publish(order, files, record, into))
    say(f"built {order.label} in {seconds:.0f} s")


def _explained(order: _Order, error: BuildFailedError) -> HarnessError:
    """A failure in a file that a patch touches is the patch's."""
    for name in order.changed_names:
        if f"{name}:" in error.excerpt:
            return ConfigurationError(f"{error}\n  ({name} is changed by the target's patch)")
    return error


def _publish(
    order: _Order, files: Mapping[str, Path], record: Mapping[str, object], into: Path
) -> None:
    for name, made in files.items():
        if not made.is_file():
            raise InfrastructureError(
                f"{order.label} is said to be built, but {made} is not there; see the build's log "
                f"{files['build.log']}"
            )
        copy = into / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(made, copy)
        _sync(copy)
    written = into / "recipe.json"
    record = {**record, "identity": file_hash(into / "image")}
    written.write_text(json.dumps(record, indent=2) + "\n")
    _sync(written)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        fsync(file.fileno())


def _modules(release: str) -> str:
    return f"lib/modules/{release}"


def _read(kept: Path, order: _Order) -> Kernel | None:
    """A kernel in the cache; None where it is not there, or not what was put there.

    Called what it is called now: the same tree may have come from elsewhere when it was built.
    """
    try:
        record = json.loads((kept / "recipe.json").read_bytes())
        image = kept / "image"
        if file_hash(image) != record["identity"]:
            return None
        return Kernel(
            label=order.label,
            release=record["release"],
            identity=record["identity"],
            image=image,
            modules=kept / _modules(record["release"]) if record["has_modules"] else None,
            source=order.origin.source,
            commit=order.origin.commit,
            vmlinux=vmlinux if (vmlinux := kept / "vmlinux").is_file() else None,
        )
    except (OSError, ValueError, KeyError):
        return None


def _changes(patch: Path) -> list[FileChange]:
    return parse_patch(patch.read_text(encoding="utf-8", errors="surrogateescape"), str(patch))


def _digest(content: Sequence[object] | Mapping[str, object]) -> str:
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
