# SPDX-License-Identifier: BSD-2-Clause
"""Linux's part of building a kernel from source: configuration and make."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import environ
from pathlib import Path

from harness.errors import ConfigurationError, InfrastructureError
from harness.kernels.kbuild.architecture import Architecture, architecture
from harness.kernels.kbuild.config import Option, check_config, config_text, merge, parse_fragment
from harness.kernels.kbuild.make import Make, ccached, compiler_identity
from harness.kernels.kbuild.requirements import require_tools
from harness.kernels.source.build import file_inside
from harness.kernels.source.builder import Built, TreeKind
from harness.kernels.source.hooks import HookCode
from harness.kernels.source.tree import BuildFolder
from harness.plan.kernel import SourceRecipe
from harness.progress import Say

OWN_FRAGMENTS = Path(__file__).parent / "fragments"
_CODE = Path(__file__).parents[2] / "failpoints" / "linux"

LINUX = TreeKind(
    name="Linux",
    marks=("Makefile", "Kconfig", "init/main.c"),  # the last: mm/, say, has the others too
    built=(
        ".config",
        "vmlinux",
        "include/config",
        "include/generated",
        "arch/*/include/generated",
    ),
    clean="`make mrproper` there removes all that, your .config too",
    hook_code=HookCode(
        files={
            "lib/fail_point.c": _CODE / "fail_point.c",
            "include/linux/fail_point.h": _CODE / "fail_point.h",
        },
        appended={"lib/Makefile": "obj-y += fail_point.o"},
        include="#include <linux/fail_point.h>",
        use=r"^[^\n]*\bFAIL_POINT(?:_[A-Z]+)*\(",
    ),
)


def linux_builder(recipe: SourceRecipe, arch: str, folder: Path) -> "LinuxBuilder":
    """The builder of a recipe; `folder` has its config fragments, `arch` is the harness's name.

    A fragment that the folder does not have may be one of the harness's own. Raises
    ConfigurationError for a fragment that cannot be used, InfrastructureError without a compiler.
    """
    target = architecture(arch)
    fragments = tuple(_fragment(folder, name) for name in recipe.config)
    return LinuxBuilder(
        arch=target,
        fragments=fragments,
        options=merge(*(_options(file) for file in (target.base, *fragments))),
        compiler=_compiler(recipe, target),
    )


@dataclass(frozen=True)
class LinuxBuilder:
    """kbuild with one configuration and one compiler."""

    arch: Architecture
    fragments: tuple[Path, ...]
    options: Mapping[str, Option]
    compiler: str

    @property
    def kind(self) -> TreeKind:
        """Trees of Linux."""
        return LINUX

    @property
    def configuration(self) -> tuple[Path, ...]:
        """Fragments, the target's and the harness's."""
        return self.fragments

    @cached_property
    def ingredients(self) -> Mapping[str, object]:
        """Architecture, compiler and every option that is asked for."""
        return {
            "arch": self.arch.kbuild,
            "compiler": [self.compiler, compiler_identity(self.compiler, self.arch)],
            "options": {option.symbol: option.value for option in self.options.values()},
        }

    @property
    def slot(self) -> Sequence[object]:
        """What differs only in options shares a folder: make rebuilds no more than it must."""
        return [self.arch.kbuild, self.compiler, *(file.name for file in self.fragments)]

    def require_tools(self) -> None:
        """Raises InfrastructureError naming what is not installed."""
        require_tools(self.compiler, self.arch)

    def build(self, folder: BuildFolder, label: str, cache: Path, say: Say) -> Built:
        """Configures, compares what came out with what was asked for, and makes."""
        make = Make(folder, self.arch, ccached(self.compiler), cache)
        self._configure(folder, label, make, say)
        make.run(self.arch.goal, say=say, what=f"building {label}")
        objects = folder.objects
        release_file = objects / "include/config/kernel.release"
        if not release_file.is_file():
            raise InfrastructureError(f"make ended well, but {release_file} is not there")
        return Built(
            release=release_file.read_text().strip(),
            files={
                "image": objects / self.arch.image,
                "config": objects / ".config",
                "vmlinux": objects / "vmlinux",
            },
            module_files=(objects / "modules.builtin",),
        )

    def _configure(self, folder: BuildFolder, label: str, make: Make, say: Say) -> None:
        asked = folder.path / "asked.config"
        asked.write_text(config_text(self.options))
        what = f"configuring {label}"
        log = folder.path / "configure.log"
        config = folder.objects / ".config"
        before = config.read_bytes() if config.is_file() else None
        # -s: else the output is only noise of the tools being built
        make.run("-s", f"KCONFIG_ALLCONFIG={asked}", "allnoconfig", say=say, what=what, log=log)
        make.run("-s", "olddefconfig", say=say, what=what, log=log)
        check_config(self.options, config.read_text(), folder.source, self.arch.folder)
        if before is not None and before != config.read_bytes():
            say("the configuration has changed: make rebuilds what depends on it")


def _compiler(recipe: SourceRecipe, arch: Architecture) -> str:
    """A recipe names compilers as a host of that architecture calls them; CC is this host's own."""
    if arch.cross_compile:
        return arch.cross_compile + (recipe.compiler or "gcc")
    return recipe.compiler or environ.get("CC") or "gcc"


def _fragment(folder: Path, name: str) -> Path:
    if name in own_fragments() and not (folder / name).exists():
        return OWN_FRAGMENTS / name
    try:
        return file_inside(folder, name, "config fragment")
    except ConfigurationError as error:
        raise ConfigurationError(f"{error}; the harness has {', '.join(own_fragments())}") from None


def own_fragments() -> list[str]:
    """Names of the fragments that every target may use."""
    return sorted(file.name for file in OWN_FRAGMENTS.glob("*.config"))


def _options(path: Path) -> dict[str, Option]:
    try:
        return parse_fragment(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: is no UTF-8 text: {error}") from error
