# SPDX-License-Identifier: BSD-2-Clause
"""The clang and lld that FreeBSD's kernels and programs are built with, wherever they are."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InfrastructureError

_NEWEST, _OLDEST = 22, 11
_PACKAGES = "apt-get install clang lld"


@dataclass(frozen=True)
class Clang:
    """One installation: the programs of `folder`, and what clang calls itself."""

    folder: Path
    version: str

    def program(self, name: str) -> str:
        """The path of `clang`, `clang++`, `clang-cpp` or `ld.lld`."""
        return str(self.folder / name)


def find_clang(wanted: str | None = None) -> Clang:
    """`wanted` (a name or a path), else `clang`, else the newest `clang-N` that is installed.

    Raises InfrastructureError with what to install: clang or lld is missing, or not of one
    installation.
    """
    for name in (wanted,) if wanted is not None else _names():
        found = shutil.which(name)
        if found is None:
            continue
        # clang-14 in PATH is a link; beside what it points to are the others of its version
        folder = Path(found).resolve().parent
        lacking = [p for p in ("clang", "clang++", "clang-cpp", "ld.lld") if not _runs(folder / p)]
        if lacking:
            raise InfrastructureError(
                f"{found} is here, but beside it ({folder}) there is no {', '.join(lacking)}: "
                f"install clang and lld of one version, as `{_PACKAGES}` does"
            )
        return Clang(folder, _version(folder / "clang"))
    what = f"`{wanted}`, which the recipe names," if wanted is not None else "clang"
    raise InfrastructureError(
        f"{what} is not installed here, and FreeBSD's kernels and guest programs are built with "
        f"it: {_PACKAGES}"
    )


def _names() -> Iterator[str]:
    yield "clang"
    for number in range(_NEWEST, _OLDEST - 1, -1):
        yield f"clang-{number}"


def _runs(program: Path) -> bool:
    return program.is_file() and os.access(program, os.X_OK)


def _version(program: Path) -> str:
    try:
        done = subprocess.run(
            [str(program), "--version"],
            capture_output=True,
            text=True,
            env=os.environ | {"LC_ALL": "C"},
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise InfrastructureError(f"`{program} --version` does not work: {error}") from error
    return done.stdout.partition("\n")[0]
