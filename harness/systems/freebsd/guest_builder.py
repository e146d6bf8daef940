# SPDX-License-Identifier: BSD-2-Clause
"""FreeBSD kernels built in a FreeBSD guest: trees from before release 13, whose tools are their
own release's.

The guest is a full image (docs/freebsd.md) with a compiler; its make(1) does `buildkernel` with
the programs of the image, as `make kernel` on a machine of that release does.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.disk_tools import missing_disk_tools
from harness.errors import ConfigurationError, InfrastructureError
from harness.files import write_atomically
from harness.kernels.source.build import file_inside
from harness.kernels.source.builder import Built, TreeKind
from harness.kernels.source.process import Step, run_step
from harness.kernels.source.tree import BuildFolder
from harness.plan.guest import ImageModel
from harness.plan.kernel import SourceRecipe
from harness.plan.load import Guest
from harness.progress import Say
from harness.systems.freebsd.architecture import Architecture, architecture
from harness.systems.freebsd.build_job import MADE, SAYS, SCRIPT, BuildOrder
from harness.systems.freebsd.builder import FREEBSD, BuildProgress, tree_release
from harness.systems.freebsd.config import (
    IDENT,
    UNTIL_12,
    Directive,
    config_text,
    known_devices,
    known_directives,
    read_config,
)

_ARCH = "x86_64"
FREEBSD_OF_ANY_AGE = TreeKind(
    name=FREEBSD.name,
    marks=tuple(mark for mark in FREEBSD.marks if mark not in FREEBSD.without),
    built=FREEBSD.built,
    clean=FREEBSD.clean,
)


def guest_builder(
    recipe: SourceRecipe, arch: str, folder: Path, guest: Guest, more: tuple[Path, ...]
) -> "GuestBuilder":
    """The builder of a recipe with `build_in`, which names `guest`.

    Raises ConfigurationError for a guest that cannot build, and as `freebsd_builder` does.
    """
    model = guest.model
    if arch != _ARCH or model.arch != _ARCH:
        raise ConfigurationError(
            f"`build_in`: kernels are built in guests for {_ARCH} only; this one is for {arch}, "
            f"and {guest.name} is {model.arch}"
        )
    if model.system != "freebsd" or model.image is None:
        raise ConfigurationError(
            f'`build_in = "{guest.name}"`: expected a FreeBSD guest with an [image] table, of '
            "the tree's release and with a compiler"
        )
    if model.image.kernel is None:
        raise ConfigurationError(
            f"{guest.file}: a guest to build in needs `kernel` under [image]: a kernel file with "
            "symbols that runs the image's programs (kernel.full of a release that is not older)"
        )
    target = architecture(arch)
    fragments = tuple(file_inside(folder, name, "config fragment") for name in recipe.config)
    return GuestBuilder(
        arch=target,
        fragments=fragments,
        directives=tuple(read_config(target.base, (*more, *fragments))),
        base=frozenset(str(file) for file in (target.base, *more)),
        guest=guest,
    )


@dataclass(frozen=True)
class GuestBuilder:
    """One configuration, and the guest to build it in."""

    arch: Architecture
    fragments: tuple[Path, ...]
    directives: tuple[Directive, ...]
    base: frozenset[str]
    """The harness's own configuration files, of which an old tree need not know every line."""
    guest: Guest

    @property
    def kind(self) -> TreeKind:
        """Trees of FreeBSD."""
        return FREEBSD_OF_ANY_AGE

    @property
    def configuration(self) -> tuple[Path, ...]:
        """The target's fragments."""
        return self.fragments

    @cached_property
    def ingredients(self) -> Mapping[str, object]:
        """Architecture, the image that is the compiler, and every line of the configuration."""
        return {
            "arch": self.arch.target,
            "build_in": _image_facts(self.guest.model.image),
            "script": SCRIPT.read_text(),
            "config": [[directive.verb, directive.argument] for directive in self.directives],
            "until 12": UNTIL_12.read_text(),
        }

    @property
    def slot(self) -> Sequence[object]:
        """What differs only in its configuration shares a folder."""
        return [self.arch.target, _image_facts(self.guest.model.image)]

    def require_tools(self) -> None:
        """Raises InfrastructureError naming what is not installed."""
        if missing := missing_disk_tools():
            raise InfrastructureError(missing)

    def build(self, folder: BuildFolder, label: str, cache: Path, say: Say) -> Built:
        """Boots the guest, sends it what is new in the tree, and fetches the kernel."""
        directives = known_directives(
            self.directives, folder.source, self.arch.target, self.base, say
        )
        directives += known_devices(UNTIL_12, folder.source, self.arch.target)
        config = folder.path / IDENT
        write_atomically(config, config_text(directives, None).encode())
        order = BuildOrder(
            guest=self.guest.model.model_dump_json(),
            source=str(folder.source.resolve()),
            objects=str(folder.objects.resolve()),
            config=str(config.resolve()),
            ident=IDENT,
            cache=str(cache.resolve()),
        )
        file = folder.path / "order.json"
        order.write(file)
        step = Step(
            argv=[sys.executable, "-m", "harness.systems.freebsd.build_job", str(file)],
            what=f"building {label} in {self.guest.name}",
            goal="make buildkernel in the guest",
            environment=dict(os.environ),
            log=folder.log,
        )
        run_step(step, folder, GuestBuildProgress().update, say)
        image, symbols = (folder.objects / "made" / name for name in MADE)
        files = {"image": image, "vmlinux": symbols, "config": config}
        return Built(release=tree_release(folder.source), files=files)


@dataclass
class GuestBuildProgress(BuildProgress):
    """What a build in a guest has done, by its log; until make makes something, what is done
    for it."""

    stage: str = ""

    def update(self, lines: Sequence[str]) -> str:
        """Takes the log's new lines; says how far the build has come."""
        for line in lines:
            if line.startswith(SAYS):
                self.stage = line.removeprefix(SAYS).strip()
        text = super().update(lines)
        return text if self.objects else self.stage


def _image_facts(image: ImageModel | None) -> str:
    """What names the image: its checksum where there is one, else its file's place and time."""
    assert image is not None  # guest_builder has looked
    facts: list[object] = [image.sha256 or image.url or image.file]
    if image.sha256 is None and image.file is not None:
        file = Path(image.file).expanduser()
        if file.is_file():
            facts += [file.stat().st_size, file.stat().st_mtime_ns]
    return json.dumps(facts)
