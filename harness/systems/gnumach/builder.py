# SPDX-License-Identifier: BSD-2-Clause
"""GNU Mach's part of building a kernel from source: autoconf, configure, MIG and make."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.errors import ConfigurationError, InfrastructureError
from harness.kernels.kbuild.make import ccached
from harness.kernels.source.build import file_inside
from harness.kernels.source.builder import Built, TreeKind
from harness.kernels.source.process import Step, run_step
from harness.kernels.source.tree import BuildFolder
from harness.plan.kernel import SourceRecipe
from harness.progress import Say
from harness.systems.gnumach.mig import Mig, find_mig

OWN_CONFIGURATIONS = Path(__file__).parent / "configurations"

GNU_MACH = TreeKind(
    name="GNU Mach",
    marks=("configure.ac", "kern/startup.c", "vm/vm_map.c"),
    built=("config.status", "config.log", "libkernel.a"),
    clean="`make distclean` there removes all that",
)

_OPTION = re.compile(r"--(?:enable|disable|with|without)-[a-z0-9][a-z0-9_-]*(?:=\S+)?")
_OBJECT = re.compile(r"^  (?:CC|CPPAS|AS)\s+(\S+\.o)$")
_UNKNOWN = re.compile(r"unrecognized options: (?P<names>.+)")
_CPUS = {"x86_64": "x86_64", "i386": "i686"}
_PREFIXES = {"x86_64": "x86_64-linux-gnu-", "i386": "i686-linux-gnu-"}
_COMPILER_PACKAGES = {"x86_64": "gcc-x86-64-linux-gnu", "i386": "gcc-i686-linux-gnu"}
_TOOLS = ("ld", "nm", "ar", "ranlib", "strip", "objcopy")
_PROGRAMS = {
    "make": "make",
    "awk": "mawk",
    "patch": "patch",
    "sed": "sed",
    "cpp": "cpp",
    "tar": "tar",
    "xz": "xz-utils",
}
_AUTOTOOLS = {"autoreconf": "autoconf", "automake": "automake"}


def gnumach_builder(
    recipe: SourceRecipe, arch: str, folder: Path, cache: Path, say: Say
) -> "GnuMachBuilder":
    """The builder of a recipe, whose `config` names files of options for configure, one a line.

    `folder` has them; a name that it does not have may be one of the harness's own. `arch` is
    x86_64 or i386. Raises ConfigurationError for what is no option, InfrastructureError without
    compiler or MIG.
    """
    files = tuple(_configuration(folder, name) for name in recipe.config)
    options = tuple(option for file in files for option in _options(file))
    compiler = _PREFIXES[arch] + (recipe.compiler or "gcc")
    _require({compiler: _COMPILER_PACKAGES[arch]})
    return GnuMachBuilder(arch, files, options, compiler, find_mig(_CPUS[arch], cache, say))


@dataclass(frozen=True)
class GnuMachBuilder:
    """configure and make with one set of options, one compiler and one MIG."""

    arch: str
    files: tuple[Path, ...]
    options: tuple[str, ...]
    compiler: str
    mig: Mig

    @property
    def kind(self) -> TreeKind:
        """Trees of GNU Mach."""
        return GNU_MACH

    @property
    def configuration(self) -> tuple[Path, ...]:
        """Files of options, the target's and the harness's."""
        return self.files

    @cached_property
    def ingredients(self) -> Mapping[str, object]:
        """Architecture, compiler, MIG and options."""
        return {
            "arch": self.arch,
            "compiler": [self.compiler, _first_line([self.compiler, "--version"])],
            "mig": self.mig.identity,
            "options": list(self.options),
        }

    @property
    def slot(self) -> Sequence[object]:
        """configure's work is not shared by kernels with other options."""
        return [self.arch, self.compiler, self.mig.identity, *self.options]

    def require_tools(self) -> None:
        """Raises InfrastructureError naming what is not installed."""
        prefix = _PREFIXES[self.arch]
        _require(_PROGRAMS | {prefix + tool: _COMPILER_PACKAGES[self.arch] for tool in _TOOLS})

    def build(self, folder: BuildFolder, label: str, cache: Path, say: Say) -> Built:
        """Makes `configure` where the tree has none, configures, and makes the kernel."""
        environment = _environment(cache)
        objects = folder.objects

        def run(argv: Sequence[str], goal: str, log: Path) -> None:
            what = f"building {label}"
            # the steps have no working folder of their own
            step = Step(["env", "-C", str(argv[0]), *argv[1:]], what, goal, environment, log)
            run_step(step, folder, _Progress().update, say)

        objects.mkdir(parents=True, exist_ok=True)
        if not (folder.source / "configure").is_file():
            _require(_AUTOTOOLS)
            log = folder.path / "autoreconf.log"
            run([str(folder.source), "autoreconf", "-i"], "autoreconf", log)
        log = folder.path / "configure.log"
        if not ((objects / "config.status").is_file() and log.is_file()):
            run([str(objects), *self._configure(folder)], "configure", log)
        # each time: what was refused once has left a config.status behind
        _refuse_unknown(log.read_text(errors="replace"), self.files)
        jobs = f"-j{len(os.sched_getaffinity(0))}"
        make = ["make", "V=0", jobs, "--output-sync=target", "gnumach"]
        run([str(objects), *make], "make gnumach", folder.log)
        return Built(
            release=_version(objects / "version.c"),
            files={"image": objects / "gnumach", "config": objects / "config.h"},
        )

    def _configure(self, folder: BuildFolder) -> list[str]:
        prefix = _PREFIXES[self.arch]
        tools = [f"{tool.upper()}={prefix}{tool}" for tool in _TOOLS]
        return [
            # so that assertions name files as ../vm/vm_map.c
            "../configure",
            f"--host={_CPUS[self.arch]}-gnu",
            f"CC={ccached(self.compiler)}",
            f"MIG={self.mig.install(folder.path)}",
            *tools,
            *self.options,
        ]


@dataclass
class _Progress:
    objects: int = 0
    last: str = ""

    def update(self, lines: Sequence[str]) -> str:
        for line in lines:
            if found := _OBJECT.match(line.rstrip()):
                self.objects += 1
                self.last = found[1]
        return f"{self.objects} objects ({self.last})" if self.objects else "configure"


def own_configurations() -> list[str]:
    """Names of the files of options that every target may use."""
    return sorted(file.name for file in OWN_CONFIGURATIONS.glob("*.configure"))


def _configuration(folder: Path, name: str) -> Path:
    if name in own_configurations() and not (folder / name).exists():
        return OWN_CONFIGURATIONS / name
    try:
        return file_inside(folder, name, "file of configure's options")
    except ConfigurationError as error:
        have = ", ".join(own_configurations())
        raise ConfigurationError(f"{error}; the harness has {have}") from None


def _options(file: Path) -> list[str]:
    options = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if not (text := line.partition("#")[0].strip()):
            continue
        if not _OPTION.fullmatch(text):
            raise ConfigurationError(
                f"{file}:{number}: expected one of configure's options, such as --enable-kdb; "
                f"found {text!r}"
            )
        options.append(text)
    return options


def _refuse_unknown(log: str, files: Sequence[Path]) -> None:
    """configure only warns of options that it does not know."""
    if found := _UNKNOWN.search(log):
        raise ConfigurationError(
            f"this tree's configure does not know {found['names']}, which is asked for in "
            + ", ".join(map(str, files))
        )


def _version(file: Path) -> str:
    found = re.search(r'"GNU Mach ([^\s"]+)', file.read_text()) if file.is_file() else None
    return found[1] if found else "unknown"


def _environment(cache: Path) -> dict[str, str]:
    """Little of the user's: configure and make take orders from many variables."""
    kept = ("PATH", "HOME", "TMPDIR", "CCACHE_DIR", "CCACHE_MAXSIZE", "CCACHE_DISABLE")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment.setdefault("CCACHE_DIR", str(cache / "ccache"))
    return environment | {"LC_ALL": "C", "CCACHE_NOHASHDIR": "1"}


def _require(programs: Mapping[str, str]) -> None:
    missing = {name: package for name, package in programs.items() if shutil.which(name) is None}
    if missing:
        raise InfrastructureError(
            "building GNU Mach needs what is not installed here: "
            + ", ".join(f"{name} ({package})" for name, package in missing.items())
            + "\n  apt-get install "
            + " ".join(sorted(set(missing.values())))
        )


def _first_line(argv: Sequence[str]) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise InfrastructureError(f"`{' '.join(argv)}` does not work: {error}") from error
    return done.stdout.partition("\n")[0]
