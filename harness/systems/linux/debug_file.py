# SPDX-License-Identifier: BSD-2-Clause
"""Where a kernel's debugging information is: its own vmlinux, or the package NAME-dbg."""

import subprocess
from functools import partial
from pathlib import Path

from harness.errors import ConfigurationError, InfrastructureError
from harness.files import make_folder_once
from harness.kernels.apt import Package, PackageUnavailableError, fetch_package
from harness.kernels.kernel import Kernel
from harness.progress import Say
from harness.systems.linux.modules import module_content

_DEBUG = "usr/lib/debug"


def debug_file(kernel: Kernel, module: str | None, cache: Path, say: Say) -> bytes:
    """An ELF file with the DWARF of a kernel, or of one of its modules.

    A packaged kernel's comes from the package NAME-dbg of the same version, some hundred megabytes
    that are fetched once. Raises ConfigurationError where there is none, InfrastructureError.
    """
    if kernel.package is not None:
        return _of_package(kernel, kernel.package, module, cache, say)
    if module is not None:
        if kernel.modules is None:
            raise ConfigurationError(f"{kernel.label} came without modules")
        return module_content(kernel.modules, module)
    if kernel.vmlinux is None:
        raise ConfigurationError(
            f"source lines need the vmlinux of {kernel.label}, built with CONFIG_DEBUG_INFO=y, and "
            "it is not at hand: name it (`vmlinux` beside `file`, or --vmlinux)"
        )
    return kernel.vmlinux.read_bytes()


def _of_package(
    kernel: Kernel, package: Package, module: str | None, cache: Path, say: Say
) -> bytes:
    wanted = f"{package.name}-dbg"
    try:
        debug = fetch_package(
            wanted, package.suite, package.architecture, cache, say, package.version
        )
    except PackageUnavailableError as error:
        raise PackageUnavailableError(
            f"source lines of {kernel.label} need its debugging information, which is in the "
            f"package {wanted}: {error}"
        ) from error
    name = f"boot/vmlinux-{kernel.release}"
    if module is not None:
        name = _path_of(kernel, module)
    folder = cache / "debug" / f"{debug.name}-{debug.sha256[:16]}" / name.replace("/", "_")
    say(f"reading {name} of {debug.identity}")
    make_folder_once(folder, partial(_take_out, debug, f"{_DEBUG}/{name}"))
    return (folder / "file").read_bytes()


def _path_of(kernel: Kernel, module: str) -> str:
    """lib/modules/RELEASE/kernel/.../NAME.ko, as the package with the code has it."""
    tree = kernel.modules
    if tree is not None:
        for path in tree.rglob("*.ko*"):
            if path.name.partition(".ko")[0].replace("-", "_") == module.replace("-", "_"):
                below = path.relative_to(tree).with_name(path.name.partition(".ko")[0] + ".ko")
                return f"lib/modules/{kernel.release}/{below}"
    raise ConfigurationError(f"{kernel.label} has no module {module}")


def _take_out(package: Package, member: str, folder: Path) -> None:
    """One file of a package, without the others: they are thirty times as much."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "file").open("wb") as into:
        reading = subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", str(package.file)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            done = subprocess.run(
                ["tar", "-xO", "--occurrence=1", f"./{member}"],
                stdin=reading.stdout,
                stdout=into,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        finally:
            assert reading.stdout is not None
            reading.stdout.close()
            reading.kill()  # what comes behind the file is of no use
            reading.wait()
    if done.returncode != 0:
        raise InfrastructureError(
            f"{package.identity} holds no {member}: {done.stderr.strip() or done.returncode}"
        )
