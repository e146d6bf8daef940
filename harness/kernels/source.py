# SPDX-License-Identifier: BSD-2-Clause
"""Linux kernels built from source, patched and configured by a target."""

import json
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from os import environ, fsync
from pathlib import Path

from harness.errors import ConfigurationError, HarnessError, InfrastructureError
from harness.files import disk_errors_named, file_hash, make_folder_once
from harness.kernels.kbuild.architecture import Architecture, architecture
from harness.kernels.kbuild.config import Option, check_config, config_text, merge, parse_fragment
from harness.kernels.kbuild.interrupt import interruptible
from harness.kernels.kbuild.lock import locked
from harness.kernels.kbuild.make import BuildFailedError, Make, ccached, compiler_identity
from harness.kernels.kbuild.origin import Origin, find_origin
from harness.kernels.kbuild.patches import FileChange, apply_patches, parse_patch
from harness.kernels.kbuild.requirements import require_tools
from harness.kernels.kbuild.semantic import (
    SemanticPatch,
    apply_semantic_patches,
    read_semantic_patch,
    spatch_identity,
)
from harness.kernels.kbuild.tree import BuildFolder
from harness.kernels.kernel import Kernel
from harness.plan.models import SourceRecipe
from harness.progress import Say

_SHOWN_FILES = 8
_FORMAT = 2
"""Goes into every kernel's key; raise it when the same recipe builds another kernel than before."""


def built_kernel(recipe: SourceRecipe, arch: str, folder: Path, cache: Path, say: Say) -> Kernel:
    """The kernel of a source recipe, from the cache or built.

    `folder` has the recipe's config fragment and patches; `arch` is the harness's name. What is
    built is cached by the content of all that it is made of. Raises PackageUnavailableError where
    no mirror has the source; ConfigurationError for a source, fragment or patch that cannot be used
    or options that did not stick; InfrastructureError for missing tools, a source out of reach and
    failed builds, with the build's first error and the log's path.
    """
    target = architecture(arch)
    fragment = _inside(folder, recipe.config, "config fragment")
    patches = [_inside(folder, name, "patch") for name in recipe.patches]
    changes = [change for patch in patches for change in _changes(patch)]
    semantic = [
        read_semantic_patch(_inside(folder, name, "semantic patch"))
        for name in recipe.semantic_patches
    ]
    options = merge(_fragment(target.base), _fragment(fragment))
    compiler = recipe.compiler or environ.get("CC") or f"{target.cross_compile}gcc"
    spatch = spatch_identity() if semantic else None
    with interruptible():
        origin = find_origin(recipe, arch, folder, cache, say)
    order = _Order(
        origin=origin,
        arch=target,
        compiler=compiler,
        compiler_identity=compiler_identity(compiler, target),
        options=options,
        fragment=fragment,
        patches=tuple(patches),
        changes=tuple(changes),
        semantic=tuple(semantic),
        spatch=spatch,
    )
    kept = cache / "kernels" / f"{origin.name}-{order.key}"
    if (kernel := _read(kept, order)) is not None:
        return kernel
    require_tools(compiler, target)
    build = BuildFolder(cache / "builds" / f"{origin.family}-{folder.name}-{order.slot}")
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


@dataclass(frozen=True)
class _Order:
    """All that decides what comes out of a build, and what people call it."""

    origin: Origin
    arch: Architecture
    compiler: str
    compiler_identity: str
    options: Mapping[str, Option]
    fragment: Path
    patches: tuple[Path, ...]
    changes: tuple[FileChange, ...]
    semantic: tuple[SemanticPatch, ...]
    spatch: str | None

    @property
    def label(self) -> str:
        """For people: the source and what the target adds to it."""
        added = (self.fragment, *self.patches, *(patch.file for patch in self.semantic))
        return f"{self.origin.label} ({', '.join(path.name for path in added)})"

    @property
    def changed_names(self) -> list[str]:
        """Files of the tree that the target's patches are for."""
        names = [change.path for change in self.changes]
        return [*names, *(name for patch in self.semantic for name in patch.names)]

    @cached_property
    def ingredients(self) -> dict[str, object]:
        """The content that the key is the hash of."""
        ingredients: dict[str, object] = {
            "format": _FORMAT,
            "source": self.origin.digest,
            "arch": self.arch.kbuild,
            "compiler": [self.compiler, self.compiler_identity],
            "options": {option.symbol: option.value for option in self.options.values()},
            "patches": [file_hash(patch) for patch in self.patches],
        }
        if self.semantic:
            hashes = [file_hash(patch.file) for patch in self.semantic]
            ingredients |= {"spatch": self.spatch, "semantic_patches": hashes}
        return ingredients

    @cached_property
    def key(self) -> str:
        """Names the kernel: the same key is the same kernel."""
        return _digest(self.ingredients)

    @property
    def slot(self) -> str:
        """Names the folder that the kernel is built in: shared by what differs only in patches and
        options, of which make rebuilds no more than it must."""
        return _digest(
            [_FORMAT, self.origin.lineage, self.arch.kbuild, self.compiler, self.fragment.name]
        )


def _build(order: _Order, build: BuildFolder, cache: Path, kept: Path, say: Say) -> None:
    began = time.monotonic()
    pristine = order.origin.tree(say)
    build.path.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="patched-", dir=build.path) as scratch:
        patched = apply_patches(pristine, order.patches, Path(scratch))
        patched = apply_semantic_patches(pristine, patched, order.semantic, cache, say)
        if changed := build.set_source(pristine, patched):
            shown = ", ".join(changed[:_SHOWN_FILES])
            more = len(changed) - _SHOWN_FILES
            say(f"changed in the source: {shown}" + (f" and {more} more" if more > 0 else ""))
    make = Make(build, order.arch, ccached(order.compiler), cache)
    _configure(order, build, make, say)
    try:
        make.run(order.arch.goal, say=say, what=f"building {order.label}")
    except BuildFailedError as error:
        raise _explained(order, error) from error
    seconds = time.monotonic() - began
    make_folder_once(kept, lambda into: _publish(order, build, into, seconds))
    say(f"built {order.label} in {seconds:.0f} s")


def _configure(order: _Order, build: BuildFolder, make: Make, say: Say) -> None:
    asked = build.path / "asked.config"
    asked.write_text(config_text(order.options))
    what = f"configuring {order.label}"
    log = build.path / "configure.log"
    before = _content(build.objects / ".config")
    # -s: else the output is only noise of the tools being built
    make.run("-s", f"KCONFIG_ALLCONFIG={asked}", "allnoconfig", say=say, what=what, log=log)
    make.run("-s", "olddefconfig", say=say, what=what, log=log)
    config = build.objects / ".config"
    check_config(order.options, config.read_text(), build.source)
    if before is not None and before != config.read_bytes():
        say("the configuration has changed: make rebuilds what depends on it")


def _explained(order: _Order, error: BuildFailedError) -> HarnessError:
    """A failure in a file that a patch touches is the patch's."""
    for name in order.changed_names:
        if f"{name}:" in error.excerpt:
            return ConfigurationError(f"{error}\n  ({name} is changed by the target's patch)")
    return error


def _publish(order: _Order, build: BuildFolder, into: Path, seconds: float) -> None:
    objects = build.objects
    release = (objects / "include/config/kernel.release").read_text().strip()
    modules = into / "lib/modules" / release
    modules.mkdir(parents=True)
    files = {
        objects / order.arch.image: into / "image",
        objects / ".config": into / "config",
        objects / "vmlinux": into / "vmlinux",
        objects / "modules.builtin": modules / "modules.builtin",
        build.log: into / "build.log",
    }
    for made, copy in files.items():
        if not made.is_file():
            raise InfrastructureError(
                f"make said it built {order.label}, but {made} is not there; see {build.log}"
            )
        _copy_durably(made, copy)
    record = order.ingredients | {
        "label": order.label,
        "release": release,
        "identity": file_hash(into / "image"),
        "origin": order.origin.source,
        "commit": order.origin.commit,
        "patch_files": [patch.name for patch in order.patches],
        "seconds": round(seconds, 1),
    }
    written = into / "recipe.json"
    written.write_text(json.dumps(record, indent=2) + "\n")
    _copy_durably(written, into / "recipe.json")


def _copy_durably(made: Path, copy: Path) -> None:
    if made != copy:
        shutil.copyfile(made, copy)
    with copy.open("rb") as file:
        fsync(file.fileno())


def _read(kept: Path, order: _Order) -> Kernel | None:
    """A kernel in the cache; None where it is not there, or not what was put there.

    Called what it is called now: the same tree may have come from elsewhere when it was built.
    """
    try:
        record = json.loads((kept / "recipe.json").read_bytes())
        image = kept / "image"
        if file_hash(image) != record["identity"]:
            return None
    except (OSError, ValueError, KeyError):
        return None
    return Kernel(
        label=order.label,
        release=record["release"],
        identity=record["identity"],
        image=image,
        modules=kept / "lib/modules" / record["release"],
        source=order.origin.source,
        commit=order.origin.commit,
    )


def _inside(folder: Path, name: str, what: str) -> Path:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ConfigurationError(f"the {what} {name!r} lies outside the target's folder {folder}")
    if not path.is_file():
        there = ", ".join(sorted(p.name for p in folder.glob(f"*{path.suffix}"))) or "none"
        raise ConfigurationError(f"no {what} {path}; files of that kind there: {there}")
    return path


def _fragment(path: Path) -> dict[str, Option]:
    return parse_fragment(path.read_text(encoding="utf-8"), str(path))


def _changes(patch: Path) -> list[FileChange]:
    return parse_patch(patch.read_text(encoding="utf-8", errors="surrogateescape"), str(patch))


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _digest(content: Sequence[object] | Mapping[str, object]) -> str:
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
