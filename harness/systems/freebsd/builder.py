# SPDX-License-Identifier: BSD-2-Clause
"""FreeBSD's part of building a kernel from source: its cross-build from Linux, incrementally.

What tools/build/make.py of the tree does is done here in its own order: the tree's make is built
(without its tests, bootstrap-bmake.sh says why) and started with the same variables.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.errors import ConfigurationError, InfrastructureError
from harness.files import write_atomically
from harness.kernels.source.build import file_inside
from harness.kernels.source.builder import Built, TreeKind
from harness.kernels.source.process import Step, run_step
from harness.kernels.source.tree import BuildFolder
from harness.plan.kernel import SourceRecipe
from harness.progress import Say
from harness.systems.freebsd.architecture import Architecture, architecture
from harness.systems.freebsd.clang import Clang, find_clang
from harness.systems.freebsd.config import (
    IDENT,
    Directive,
    config_text,
    read_config,
    require_known_options,
)
from harness.systems.freebsd.requirements import require_tools
from harness.systems.freebsd.toolchain import keep_toolchain, place_toolchain, toolchain_key

FREEBSD = TreeKind(
    name="FreeBSD",
    marks=("Makefile.inc1", "sys/conf/newvers.sh", "tools/build/make.py"),
    without={
        "tools/build/make.py": "is of a FreeBSD before release 13, which does not build on Linux "
        "(build it in a FreeBSD guest of its release: `build_in` in the recipe, docs/freebsd.md; "
        "or elsewhere, and name its kernel.full by `file` in the recipe, or by --kernel of harness "
        "run; or take a newer tree)"
    },
    built=("sys/*/compile/*/Makefile",),
    clean="remove the folders below sys/*/compile",
)
_FOLDER = Path(__file__).parent / "kernel"
_SRC_CONF = _FOLDER / "src.conf"
_BOOTSTRAP = _FOLDER / "bootstrap-bmake.sh"
_OBJECT = re.compile(r"^--- (\S+\.o) ---$")
_PART = re.compile(r"^===> (\S+)")


def freebsd_builder(
    recipe: SourceRecipe, arch: str, folder: Path, more: Sequence[Path] = ()
) -> "FreeBSDBuilder":
    """The builder of a recipe; `folder` has its config fragments, `arch` is the harness's name.

    `more` are fragments that the guest adds to the recipe's.
    Raises ConfigurationError for a fragment that cannot be used, InfrastructureError without a
    clang.
    """
    target = architecture(arch)
    own = (file_inside(folder, name, "config fragment") for name in recipe.config)
    fragments = (*own, *more)
    return FreeBSDBuilder(
        arch=target,
        fragments=fragments,
        directives=tuple(read_config(target.base, fragments)),
        clang=find_clang(recipe.compiler),
    )


@dataclass(frozen=True)
class FreeBSDBuilder:
    """The tree's make with one configuration and one compiler."""

    arch: Architecture
    fragments: tuple[Path, ...]
    directives: tuple[Directive, ...]
    clang: Clang

    @property
    def kind(self) -> TreeKind:
        """Trees of FreeBSD that build on Linux."""
        return FREEBSD

    @property
    def configuration(self) -> tuple[Path, ...]:
        """The target's fragments."""
        return self.fragments

    @cached_property
    def ingredients(self) -> Mapping[str, object]:
        """Architecture, compiler, and every line of the configuration."""
        return {
            "arch": self.arch.target,
            "compiler": self.clang.version,
            "config": [[directive.verb, directive.argument] for directive in self.directives],
            "src.conf": _SRC_CONF.read_text(),
        }

    @property
    def slot(self) -> Sequence[object]:
        """What differs only in its configuration shares a folder."""
        return [self.arch.target, self.clang.version]

    def require_tools(self) -> None:
        """Raises InfrastructureError naming what is not installed."""
        require_tools()

    def build(self, folder: BuildFolder, label: str, cache: Path, say: Say) -> Built:
        """The tree's tools, from the cache or built, then the kernel."""
        if re.search(r"\s", str(folder.path)):
            raise ConfigurationError(
                f"FreeBSD's build takes no path with a space: {folder.path}; set HARNESS_CACHE to "
                "another folder"
            )
        require_known_options(self.directives, folder.source, self.arch.target)
        make = _Make(self, folder, say)
        make.ensure_toolchain(cache, label)
        _write_if_changed(folder.path / IDENT, config_text(self.directives, folder.source))
        make.run(f"building {label}", "buildkernel")
        made = make.objects / "sys" / IDENT
        return Built(
            release=tree_release(folder.source),
            files={
                "image": made / self.arch.image,
                "vmlinux": made / "kernel.full",
                "config": folder.path / IDENT,
            },
        )


@dataclass(frozen=True)
class _Make:
    """The tree's make for one build folder."""

    builder: FreeBSDBuilder
    folder: BuildFolder
    say: Say

    @property
    def prefix(self) -> Path:
        """MAKEOBJDIRPREFIX: each source has its objects below its own path in it."""
        return self.folder.objects

    @property
    def objects(self) -> Path:
        """Where the objects of this tree for this architecture are (build(7), OBJTOP)."""
        arch = self.builder.arch
        inside = str(self.folder.source.resolve()).lstrip("/")
        return self.prefix / inside / f"{arch.target}.{arch.target_arch}"

    @property
    def bmake(self) -> Path:
        """Where the tree's make is installed."""
        return self.prefix / "bmake-install"

    def ensure_toolchain(self, cache: Path, label: str) -> None:
        """Puts the tools in place: this folder's, else the cache's, else new ones."""
        builder, source = self.builder, self.folder.source.resolve()
        ingredients = [
            builder.arch.target, builder.clang.version, _SRC_CONF.read_text(),
            _BOOTSTRAP.read_text(),
        ]  # fmt: skip
        key = toolchain_key(source, ingredients)
        kept = cache / "toolchains" / f"freebsd-{builder.arch.target}-{key}"
        mark = self.folder.path / "toolchain"
        if mark.is_file() and mark.read_text() == key and (self.objects / "tmp").is_dir():
            return
        mark.unlink(missing_ok=True)
        if not kept.is_dir():
            what = f"building the tools of {label}"
            self.prefix.mkdir(parents=True, exist_ok=True)
            bootstrap = [str(source), str(self.prefix / "bmake-build"), str(self.bmake)]
            if not (self.bmake / "bin/bmake").exists():
                self._step(what, ["sh", str(_BOOTSTRAP), *bootstrap], "bootstrap-bmake.sh")
            self.run(what, "kernel-toolchain")
            keep_toolchain(self.objects, self.bmake, source, kept)
        else:
            place_toolchain(kept, self.objects, self.bmake, source)
        write_atomically(mark, key.encode())

    def run(self, what: str, goal: str) -> None:
        """Makes one goal of the tree's top Makefile. Raises BuildFailedError."""
        arch = self.builder.arch
        argv = [
            str(self.bmake / "bin/bmake"),
            "-C",
            str(self.folder.source.resolve()),
            # at least two: with one, bmake does not say what it makes
            f"-j{max(2, len(os.sched_getaffinity(0)))}",
            "-DWITH_AUTO_OBJ",
            "-DWITHOUT_CLEAN",
            # release 15 would build LLVM's nm, objcopy and the like
            "-DWITHOUT_LLVM_BINUTILS",
            f"TARGET={arch.target}",
            f"TARGET_ARCH={arch.target_arch}",
            f"KERNCONF={IDENT}",
            f"KERNCONFDIR={self.folder.path.resolve()}",
            # a compiler newer than the tree has more to warn of
            "WERROR=",
            # no user, host, folder or time in the kernel (newvers.sh)
            "REPRO_FLAG=-r",
            goal,
        ]
        self._step(what, argv, f"make {goal}")

    def _step(self, what: str, argv: list[str], goal: str) -> None:
        step = Step(
            argv=argv,
            what=what,
            goal=goal,
            environment=self._environment(),
            log=self.folder.log,
        )
        run_step(step, self.folder, BuildProgress().update, self.say)

    def _environment(self) -> dict[str, str]:
        """Little of the user's: the tree's make takes orders from many variables."""
        kept = {n: os.environ[n] for n in ("PATH", "HOME", "TMPDIR") if n in os.environ}
        clang = self.builder.clang
        return kept | {
            "LC_ALL": "C",
            "MAKEOBJDIRPREFIX": str(self.prefix.resolve()),
            "CC": "cc",
            "CXX": "c++",
            "CPP": "cpp",
            "XCC": clang.program("clang"),
            "XCXX": clang.program("clang++"),
            "XCPP": clang.program("clang-cpp"),
            "XLD": clang.program("ld.lld"),
            "SRCCONF": str(_SRC_CONF),
            "SRC_ENV_CONF": os.devnull,
            "__MAKE_CONF": os.devnull,
        }


@dataclass
class BuildProgress:
    """What a FreeBSD build has done, by its log."""

    objects: int = 0
    last: str = ""

    def update(self, lines: Sequence[str]) -> str:
        """Takes the log's new lines; says how far the build has come."""
        for line in lines:
            if found := _OBJECT.match(line.rstrip()):
                self.objects += 1
                self.last = found[1]
            elif found := _PART.match(line):
                self.last = found[1]
        return f"{self.objects} objects ({self.last})"


def tree_release(source: Path) -> str:
    """As uname(1) would print it: `13.2-RELEASE` (sys/conf/newvers.sh)."""
    text = (source / "sys/conf/newvers.sh").read_text(encoding="utf-8", errors="replace")
    found = [
        re.search(rf'^{name}="([^"]+)"', text, re.MULTILINE) for name in ("REVISION", "BRANCH")
    ]
    if None in found:
        raise InfrastructureError(
            f"{source}/sys/conf/newvers.sh does not say REVISION and BRANCH: is this FreeBSD's?"
        )
    return "-".join(match[1] for match in found if match)


def _write_if_changed(path: Path, text: str) -> None:
    """A configuration with a new time would be configured again."""
    if not path.is_file() or path.read_text() != text:
        write_atomically(path, text.encode())
