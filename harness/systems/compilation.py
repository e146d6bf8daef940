# SPDX-License-Identifier: BSD-2-Clause
"""Guest programs compiled on the host, kept by the content of all that they are made from."""

import hashlib
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ConfigurationError


@dataclass(frozen=True)
class Compilation:
    """One program: its sources, the other files that it depends on, and its own flags."""

    name: str
    """Of the file in the cache, before a digest."""
    sources: tuple[Path, ...]
    """The one that a person wrote comes last."""
    others: tuple[Path, ...]
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Compiler:
    """A command with what it says of its version, and the flags of all programs."""

    argv: tuple[str, ...]
    version: str
    flags: tuple[str, ...]
    target: str = ""
    """Behind "does not compile" in messages."""


def compiled(what: Compilation, compiler: Compiler, cache: Path) -> Path:
    """The program in the cache. Raises ConfigurationError with the compiler's own message."""
    digest = _digest([*compiler.flags, *what.flags], what, compiler.version)
    program = cache / "programs" / f"{what.name}-{digest}"
    if program.exists():
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    unfinished = program.with_name(f".{program.name}.{os.getpid()}")
    argv = [*compiler.argv, *compiler.flags, *what.flags, "-o", str(unfinished)]
    done = subprocess.run(
        [*argv, *map(str, what.sources)],
        capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    if done.returncode != 0:
        unfinished.unlink(missing_ok=True)
        raise ConfigurationError(
            f"{what.sources[-1]} does not compile{compiler.target}:\n{done.stderr.strip()}"
        )
    unfinished.rename(program)
    return program


def _digest(flags: Sequence[str], what: Compilation, version: str) -> str:
    digest = hashlib.sha256(version.encode())
    digest.update("\0".join(flags).encode())
    for file in (*what.sources, *what.others):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]
