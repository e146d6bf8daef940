# SPDX-License-Identifier: BSD-2-Clause
"""Static guest programs, built on the host for the guest's architecture and kept by content."""

import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.errors import ConfigurationError, InfrastructureError

WORKLOAD_BASE = 0x7000_0000
"""Where workloads are linked: away from every other program of the guest, since a failpoint at one
of a workload's functions is set by its virtual address, whatever process it is in."""


@dataclass(frozen=True)
class CrossCompiler:
    """How programs for one architecture are compiled on a host of another one.

    `machine` is what uname(2) calls hosts that need no cross compiler; `packages` are those of the
    distribution that hold `program` and the C library to link with.
    """

    machine: str
    program: str
    packages: tuple[str, ...]


CROSS_COMPILERS = {
    "x86_64": CrossCompiler(
        "x86_64", "x86_64-linux-gnu-gcc", ("gcc-x86-64-linux-gnu", "libc6-dev-amd64-cross")
    ),
    "i386": CrossCompiler(
        "i686", "i686-linux-gnu-gcc", ("gcc-i686-linux-gnu", "libc6-dev-i386-cross")
    ),
    "arm64": CrossCompiler(
        "aarch64", "aarch64-linux-gnu-gcc", ("gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross")
    ),
    "ppc64le": CrossCompiler(
        "ppc64le",
        "powerpc64le-linux-gnu-gcc",
        ("gcc-powerpc64le-linux-gnu", "libc6-dev-ppc64el-cross"),
    ),
}
"""By the harness's names of architectures."""


def compiler_for(arch: str) -> str:
    """The compiler for an architecture: on a host of the same one $CC or cc, else the cross one."""
    cross = CROSS_COMPILERS[arch]
    return os.environ.get("CC", "cc") if platform.machine() == cross.machine else cross.program


def missing_compiler(arch: str) -> str | None:
    """What to say where the compiler for an architecture, or its C library, is not installed.

    None where they are.
    """
    compiler = compiler_for(arch)
    if shutil.which(compiler) is not None and _has_library(compiler):
        return None
    native = platform.machine() == CROSS_COMPILERS[arch].machine
    packages = ("gcc", "libc6-dev") if native else CROSS_COMPILERS[arch].packages
    return f"no C compiler for {arch} ({compiler}): install the packages {' and '.join(packages)}"


@cache
def _has_library(compiler: str) -> bool:
    """Whether there is a static C library: a compiler prints the bare name of what it lacks."""
    done = subprocess.run(
        [compiler, "-print-file-name=libc.a"], capture_output=True, text=True, check=False
    )
    return Path(done.stdout.strip()).is_absolute()


def static_flags(text_base: int | None, more: Sequence[str] = ()) -> list[str]:
    """What every compiler of guest programs is told; `more` come last, so that they win."""
    flags = ["-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-pthread"]
    flags += ["-static", "-no-pie", "-fno-pie"]
    if text_base is not None:
        flags.append(f"-Wl,-Ttext-segment={text_base:#x}")
    return [*flags, *more]


def program_file(
    source: Path, include: Path | None, cache: Path, ingredients: Sequence[str]
) -> Path:
    """Where the program made from a C file is kept: by its content and how it is made.

    `include` is the folder of its headers, `ingredients` are the compiler's identity and flags.
    """
    digest = hashlib.sha256("\0".join(ingredients).encode() + source.read_bytes())
    for header in sorted(include.glob("*.h")) if include is not None else []:
        digest.update(header.name.encode() + header.read_bytes())
    return cache / "programs" / f"{source.stem}-{digest.hexdigest()[:16]}"


def compile_static(
    source: Path,
    cache: Path,
    arch: str,
    *,
    parts: Sequence[Path] = (),
    include: Path | None = None,
    text_base: int | None = None,
    more: Sequence[str] = (),
) -> Path:
    """Compiles a C file, with the `parts` that it needs, into a static program; returns its path.

    The program is at fixed addresses, and named after `source`. `arch` is the harness's name of the
    guest's architecture; `more` are further flags. Raises ConfigurationError with the compiler's
    own message where the source is wrong, InfrastructureError where there is no compiler, with the
    packages to install.
    """
    flags = static_flags(text_base, more)
    if include is not None:
        flags += ["-I", str(include)]
    if missing := missing_compiler(arch):
        raise InfrastructureError(missing)
    compiler = compiler_for(arch)
    ingredients = [_compiler_version(compiler), *flags]
    ingredients += [hashlib.sha256(part.read_bytes()).hexdigest() for part in parts]
    program = program_file(source, include, cache, ingredients)
    if program.exists():
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    unfinished = program.with_name(f".{program.name}.{os.getpid()}")
    done = subprocess.run(
        [compiler, "-o", str(unfinished), str(source), *map(str, parts), *flags],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        unfinished.unlink(missing_ok=True)
        raise ConfigurationError(f"{source} does not compile:\n{done.stderr.strip()}")
    unfinished.rename(program)
    return program


def _compiler_version(compiler: str) -> str:
    try:
        done = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise InfrastructureError(f"the C compiler {compiler} does not run: {error}") from error
    return done.stdout
