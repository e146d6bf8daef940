# SPDX-License-Identifier: BSD-2-Clause
"""make of a Linux tree: its command line, its environment and its progress."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InfrastructureError
from harness.kernels.kbuild.architecture import Architecture
from harness.kernels.kbuild.requirements import require_tools
from harness.kernels.source.process import Step, run_step
from harness.kernels.source.tree import BuildFolder
from harness.progress import Say

_STEP = re.compile(r"^  ([A-Z][A-Z0-9_ ]*?)\s+(?:\[M\]\s+)?(\S+)$")
_OBJECT_STEPS = {"CC", "AS", "HOSTCC", "LD"}


@dataclass(frozen=True)
class Make:
    """make for one build folder; `compiler` may be several words (`ccache gcc`)."""

    folder: BuildFolder
    arch: Architecture
    compiler: str
    cache: Path

    def run(self, *goals: str, say: Say, what: str, log: Path | None = None) -> None:
        """Makes the goals (and VARIABLE=value); its output goes to the folder's log, or `log`.

        Raises BuildFailedError. Interrupted, it ends make and all that make has started.
        """
        argv = [
            "make",
            "-C",
            str(self.folder.source),
            f"O={self.folder.objects}",
            f"ARCH={self.arch.kbuild}",
            f"CROSS_COMPILE={self.arch.cross_compile}",
            f"CC={self.compiler}",
            # set, though empty: else a tree inside somebody's git repository gets a `+`
            "LOCALVERSION=",
            f"-j{len(os.sched_getaffinity(0))}",
            "--output-sync=target",
            *goals,
        ]
        step = Step(
            argv=argv,
            what=what,
            goal=f"make {goals[-1]}",
            environment=build_environment(self.cache),
            log=log or self.folder.log,
        )
        run_step(step, self.folder, _Progress(f"{self.folder.objects}/").update, say)


def ccached(compiler: str) -> str:
    """The compiler through ccache, where that is installed."""
    return f"ccache {compiler}" if shutil.which("ccache") else compiler


def build_environment(cache: Path) -> dict[str, str]:
    """Variables for make: little of the user's, since kbuild and make take orders from many.

    A `make TARGET=…` that the harness was started from passes on MAKEFLAGS, job server and all its
    variables. The KBUILD_BUILD_* make the same sources the same image (Documentation/kbuild/
    reproducible-builds.rst).
    """
    kept = ("PATH", "HOME", "TMPDIR", "CCACHE_DIR", "CCACHE_MAXSIZE", "CCACHE_DISABLE")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment.setdefault("CCACHE_DIR", str(cache / "ccache"))
    return environment | {
        "LC_ALL": "C",
        "CCACHE_NOHASHDIR": "1",
        "KBUILD_BUILD_TIMESTAMP": "1970-01-01",
        "KBUILD_BUILD_USER": "harness",
        "KBUILD_BUILD_HOST": "harness",
        "KBUILD_BUILD_VERSION": "1",
    }


def compiler_identity(compiler: str, arch: Architecture) -> str:
    """First lines of what the compiler and the linker call themselves. Raises HarnessError."""
    lines = []
    for program in (compiler, f"{arch.cross_compile}ld"):
        try:
            done = subprocess.run(
                [*shlex.split(program), "--version"],
                capture_output=True,
                text=True,
                env=os.environ | {"LC_ALL": "C"},
                check=True,
            )
        except (OSError, subprocess.CalledProcessError) as error:
            if isinstance(error, FileNotFoundError):
                require_tools(compiler, arch)  # all that is missing, in one message
            raise InfrastructureError(
                f"`{program} --version` does not work: {error}; install a compiler, or name "
                "another in the recipe (`compiler`) or the variable CC"
            ) from error
        lines.append(done.stdout.partition("\n")[0])
    return "; ".join(lines)


@dataclass
class _Progress:
    objects_folder: str
    objects: int = 0
    last: str = ""

    def update(self, lines: Sequence[str]) -> str:
        for line in lines:
            if found := _STEP.match(line.rstrip()):
                self.objects += found[1] in _OBJECT_STEPS
                self.last = f"{found[1]} {found[2].removeprefix(self.objects_folder)}"
        return f"{self.objects} objects ({self.last})"
