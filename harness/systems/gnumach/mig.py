# SPDX-License-Identifier: BSD-2-Clause
"""MIG, the generator of message stubs that building GNU Mach needs: installed, or from a package.

A distribution has MIG for the architecture of the kernel only, and newer ones for newer C libraries
than the host's. So the package's program is run by the dynamic loader and the C library of its own
suite, without anything being installed (ld.so(8)).
"""

import platform
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InfrastructureError
from harness.files import make_folder_once
from harness.kernels.apt import Package, fetch_package, unpack
from harness.progress import Say

SUITE = "sid"
"""Where MIG is fetched from: the suite that has the kernels, too."""


@dataclass(frozen=True)
class _Packaged:
    """Debian's architecture of the package with MIG, and its dynamic loader."""

    architecture: str
    loader: str


_PACKAGED = {
    "x86_64": _Packaged("amd64", "ld-linux-x86-64.so.2"),
    # on amd64 there is none for i686
    "i686": _Packaged("i386", "ld-linux.so.2"),
}


@dataclass(frozen=True)
class Mig:
    """A MIG for one architecture; `identity` is its version, for a kernel's key."""

    identity: str
    cpu: str
    program: Path | None
    """Where it is installed; else it is made of the packages' files."""
    package: Path | None = None
    libc: Path | None = None

    def install(self, folder: Path) -> Path:
        """The program's path; scripts for a packaged one are written to `folder`."""
        if self.program is not None:
            return self.program
        assert self.package is not None
        assert self.libc is not None
        loader = _one_file(self.libc, _PACKAGED[self.cpu].loader)
        libraries = _one_file(self.libc, "libc.so.6").parent
        migcom = folder / "migcom"
        mig = folder / f"{self.cpu}-gnu-mig"
        program = self.package / f"usr/lib/mig/{self.cpu}-gnu-migcom"
        _write_script(migcom, loader, "--library-path", libraries, program)
        script = self.package / f"usr/bin/{self.cpu}-gnu-mig"
        _write_script(mig, "/bin/sh", script, "-migcom", migcom)
        return mig


def find_mig(cpu: str, cache: Path, say: Say) -> Mig:
    """The MIG on the PATH for x86_64 or i686, else the distribution's package, downloaded once.

    Raises PackageUnavailableError, InfrastructureError.
    """
    name = f"{cpu}-gnu-mig"
    if (found := shutil.which(name)) is not None:
        done = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
        if done.returncode != 0 or not done.stdout.strip():
            raise InfrastructureError(
                f"`{found} --version` ended with status {done.returncode}, expected 0 and a "
                f"version: {(done.stderr or done.stdout).strip()[-2000:]}; repair the program, or "
                "take it off the PATH"
            )
        return Mig(done.stdout.strip(), cpu, Path(found))
    if platform.machine() != "x86_64":
        raise InfrastructureError(
            f"{name} is not installed, and its package runs on x86-64 only: build GNU MIG, "
            f"configured with --target={cpu}-gnu"
        )
    architecture = _PACKAGED[cpu].architecture
    package = fetch_package(f"mig-{cpu.replace('_', '-')}-gnu", SUITE, architecture, cache, say)
    libc = fetch_package("libc6", SUITE, architecture, cache, say)
    return Mig(
        f"{package.identity}, {libc.identity}",
        cpu,
        None,
        _unpacked(package, cache),
        _unpacked(libc, cache),
    )


def _unpacked(package: Package, cache: Path) -> Path:
    folder = cache / "unpacked" / f"{package.name}-{package.sha256[:16]}"
    return make_folder_once(folder, lambda into: unpack(package, into))


def _one_file(folder: Path, name: str) -> Path:
    """A file by its name, wherever in the package it is (`/lib` has moved to `/usr/lib`)."""
    found = sorted(path for path in folder.rglob(name) if path.is_file())
    if not found:
        raise InfrastructureError(f"the package's folder {folder} has no {name}")
    return found[0]


def _write_script(path: Path, *command: str | Path) -> None:
    """A script that becomes the command, with the script's own arguments behind it."""
    words = shlex.join(str(word) for word in command)
    path.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    path.chmod(0o755)
