# SPDX-License-Identifier: BSD-2-Clause
"""The guest's two programs, compiled without a C library: multiboot shim and bootstrap program.

Both are kept by the content of all that they are made from.
"""

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from harness.errors import InfrastructureError
from harness.kernels.toolchain import CROSS_COMPILERS, WORKLOAD_BASE
from harness.systems import agent
from harness.systems.compilation import Compilation, Compiler, compiled

SOURCES = Path(__file__).parent / "guest"
SHIM_BASE = 0x600_0000
"""Where shim.ld puts the shim, above all that it places (bytes)."""
_PROGRAM = ("control.c", "workload.c", "thread.c", "rpc.c", "text.c")
_FREESTANDING = (
    "-std=gnu11", "-O2", "-Wall", "-Wextra", "-ffreestanding", "-fno-pie", "-fno-stack-protector",
    "-fcf-protection=none", "-fno-asynchronous-unwind-tables", "-mgeneral-regs-only",
    "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none", "-Wl,-z,noexecstack",
)  # fmt: skip
_MODES = {"x86_64": ("-m64",), "i386": ("-m32", "-march=i686")}


def compile_shim(cache: Path) -> Path:
    """The shim, an ELF file for i386. Raises InfrastructureError without a compiler."""
    script = SOURCES / "shim.ld"
    flags = (*_MODES["i386"], "-T", str(script))
    return _compiled(Compilation("mach-shim", (SOURCES / "shim.c",), (script,), flags), cache)


def compile_bootstrap(workload: Path, arch: str, cache: Path, more: Sequence[str] = ()) -> Path:
    """The bootstrap program with a workload in it, with symbols; `arch` is x86_64 or i386.

    Headers of the workload are beside it; `more` are further flags. Raises ConfigurationError with
    the compiler's message where the workload is wrong, InfrastructureError without a compiler.
    """
    headers = (
        *sorted(SOURCES.glob("*.h")), *agent.headers(), *sorted(workload.parent.glob("*.h")),
    )  # fmt: skip
    flags = (
        *_MODES[arch], "-g", "-I", str(SOURCES), "-I", str(agent.INCLUDE),
        "-I", str(workload.parent), f"-Wl,-Ttext-segment={WORKLOAD_BASE:#x}", *more,
    )  # fmt: skip
    sources = (*(SOURCES / name for name in _PROGRAM), *agent.FRAMES, workload)
    return _compiled(Compilation(f"mach-{workload.stem}", sources, headers, flags), cache)


def missing_compiler() -> str | None:
    """What to say where the compiler is not installed; None where it is.

    One compiler makes programs of both word sizes; no library of either is needed.
    """
    compiler = _compiler()
    if shutil.which(compiler) is not None:
        return None
    package = "gcc" if platform.machine() == "x86_64" else CROSS_COMPILERS["x86_64"].packages[0]
    return f"no C compiler for GNU Mach's programs ({compiler}): install the package {package}"


def _compiled(what: Compilation, cache: Path) -> Path:
    if missing := missing_compiler():
        raise InfrastructureError(missing)
    compiler = _compiler()
    return compiled(what, Compiler((compiler,), _version(compiler), _FREESTANDING), cache)


def _compiler() -> str:
    if platform.machine() == "x86_64":
        return os.environ.get("CC", "cc")
    return CROSS_COMPILERS["x86_64"].program


def _version(compiler: str) -> str:
    try:
        done = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise InfrastructureError(f"the C compiler {compiler} does not run: {error}") from error
    return done.stdout
