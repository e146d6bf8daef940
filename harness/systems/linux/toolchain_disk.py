# SPDX-License-Identifier: BSD-2-Clause
"""A disk with the distribution's compiler of a guest's architecture, made without root."""

import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ConfigurationError, InfrastructureError
from harness.files import make_folder_once
from harness.kernels.apt import Package, download_with_dependencies, unpack
from harness.kernels.packaged import DEBIAN_ARCHITECTURES
from harness.kernels.source.interrupt import interruptible
from harness.plan.guest import CompilerModel
from harness.progress import Say

_UNUSED = (
    "etc",
    "usr/share",
    "usr/lib/*/gconv",
    "usr/lib/gcc/*/*/lto1",
    "usr/bin/*lto-dump*",
    "usr/lib/*/lib*san.so*",
    "usr/lib/gcc/*/*/lib*san*",
)
"""What compiling C to static programs never reads: half of what the packages hold."""
_MOUNT_POINTS = ("dev", "proc", "tmp")
_MERGED = ("bin", "lib", "lib64")
_FOLDERS = ("/usr/sbin", "/sbin")
_UUID = "8a2f3c5e-6b1d-4e70-9c48-5d0e7a913f26"
_SPARE_MIB = 16
_RECIPE = 1
"""To be raised with every change here that changes a disk's content."""


@dataclass(frozen=True)
class ToolchainDisk:
    """An ext4 image to be mounted read-only; `identity` tells its packages from all others."""

    image: Path
    identity: str


def toolchain_disk(compiler: CompilerModel, arch: str, cache: Path, say: Say) -> ToolchainDisk:
    """The disk out of the cache, or made: packages downloaded, unpacked, written to an image.

    Its packages stay at their versions until its cache folder is removed. Raises
    PackageUnavailableError, ConfigurationError where the packages hold no such compiler,
    InfrastructureError.
    """
    architecture = DEBIAN_ARCHITECTURES[arch]
    order = [compiler.packages, compiler.suite, compiler.program, architecture, _RECIPE]
    key = hashlib.sha256(json.dumps(order).encode()).hexdigest()[:12]
    folder = cache / "toolchains" / f"{compiler.suite}-{architecture}-{key}"

    def fill(into: Path) -> None:
        downloads, root = into / "packages", into / "root"
        downloads.mkdir()
        root.mkdir()
        packages = download_with_dependencies(
            compiler.packages, compiler.suite, architecture, downloads, cache, say
        )
        say(f"making the toolchain disk for {arch}")
        for package in packages:
            unpack(package, root)
        make_image(root, into / "disk.img", compiler)
        (into / "packages.json").write_text(json.dumps(_listing(packages), indent=2) + "\n")
        shutil.rmtree(downloads)
        shutil.rmtree(root)

    with interruptible():
        make_folder_once(folder, fill)
    listing = (folder / "packages.json").read_bytes()
    return ToolchainDisk(folder / "disk.img", hashlib.sha256(listing).hexdigest())


def make_image(root: Path, image: Path, compiler: CompilerModel) -> None:
    """Writes an ext4 image of an unpacked toolchain, which is pruned and made bootable for chroot.

    Raises ConfigurationError where it lacks the compiler or a C library to link with.
    """
    if not os.path.lexists(root / "usr/bin" / compiler.program):
        raise ConfigurationError(_lacks(compiler, f"program {compiler.program!r} in /usr/bin"))
    if not any(root.glob("usr/lib/*/libc.a")):
        raise ConfigurationError(_lacks(compiler, "static C library (libc.a)"))
    for pattern in _UNUSED:
        for path in root.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    for name in _MOUNT_POINTS:
        (root / name).mkdir(exist_ok=True)
    for name in _MERGED:  # suites with a merged /usr make these links when a system is installed
        if not os.path.lexists(root / name) and (root / "usr" / name).is_dir():
            (root / name).symlink_to(f"usr/{name}")
    _write_ext4(root, image)


def _lacks(compiler: CompilerModel, what: str) -> str:
    return (
        f"[userland.compiler]: no {what} in the packages {', '.join(compiler.packages)} of "
        f"{compiler.suite}, nor in what they depend on: name the package that has it"
    )


def _write_ext4(root: Path, image: Path) -> None:
    """mke2fs(8) with -d fills the file system without mounting it, so without root."""
    used = sum(path.lstat().st_size // 4096 + 1 for path in root.rglob("*"))
    mib = used * 4096 * 11 // 10 // (1 << 20) + _SPARE_MIB
    argv = [_mke2fs(), "-q", "-t", "ext4", "-O", "^has_journal,^metadata_csum,^resize_inode"]
    argv += ["-b", "4096", "-m", "0", "-U", _UUID, "-E", f"root_owner=0:0,hash_seed={_UUID}"]
    argv += ["-d", str(root), str(image), f"{mib}M"]
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise InfrastructureError(
            f"cannot make the toolchain disk of {mib} MiB: mke2fs ended with status "
            f"{done.returncode}: {done.stderr.strip()}"
        )


def _mke2fs() -> str:
    """Where it is: a user's PATH need not have the folders of the system's own programs."""
    path = os.pathsep.join([os.environ.get("PATH", ""), *_FOLDERS])
    found = shutil.which("mke2fs", path=path)
    if found is None:
        raise InfrastructureError(
            "mke2fs is not installed, and the toolchain disk is made by it: apt-get install "
            "e2fsprogs"
        )
    return found


def _listing(packages: list[Package]) -> list[dict[str, str]]:
    return [
        {"name": package.name, "version": package.version, "sha256": package.sha256}
        for package in sorted(packages, key=lambda package: package.name)
    ]
