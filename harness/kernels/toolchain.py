# SPDX-License-Identifier: BSD-2-Clause
"""Static guest programs built by the host's compiler, cached by the hash of their inputs."""

import hashlib
import os
import subprocess
from pathlib import Path

from harness.errors import ConfigurationError, InfrastructureError

WORKLOAD_BASE = 0x7000_0000
"""Where workloads are linked: away from every other program of the guest, since a failpoint at one
of a workload's functions is set by its virtual address, whatever process it is in."""


def compile_static(
    source: Path, cache: Path, *, include: Path | None = None, text_base: int | None = None
) -> Path:
    """Compiles one C file into a static program at fixed addresses; returns its path.

    Raises ConfigurationError with the compiler's own message where the source is wrong,
    InfrastructureError where there is no compiler.
    """
    flags = [
        "-std=gnu11",
        "-O2",
        "-g",
        "-Wall",
        "-Wextra",
        "-static",
        "-no-pie",
        "-fno-pie",
        "-pthread",
    ]
    if include is not None:
        flags += ["-I", str(include)]
    if text_base is not None:
        flags += [f"-Wl,-Ttext-segment={text_base:#x}"]
    compiler = os.environ.get("CC", "cc")
    digest = hashlib.sha256(_compiler_version(compiler).encode())
    digest.update("\0".join(flags).encode() + source.read_bytes())
    for header in sorted(include.glob("*.h")) if include is not None else []:
        digest.update(header.read_bytes())
    program = cache / "programs" / f"{source.stem}-{digest.hexdigest()[:16]}"
    if program.exists():
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    unfinished = program.with_name(f".{program.name}.{os.getpid()}")
    done = subprocess.run(
        [compiler, *flags, "-o", str(unfinished), str(source)],
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
        raise InfrastructureError(
            f"no C compiler ({compiler}): install the packages gcc and libc6-dev"
        ) from error
    return done.stdout
