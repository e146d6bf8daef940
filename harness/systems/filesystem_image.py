# SPDX-License-Identifier: BSD-2-Clause
"""File-system images for guests, made on the host by a distribution's own tools, without root."""

import gzip
import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness.errors import ConfigurationError, InfrastructureError
from harness.files import make_folder_once, write_atomically
from harness.kernels.apt import Package, fetch_package, unpack
from harness.plan.needs import IMAGE_PLACEHOLDER, FilesystemImageModel
from harness.progress import Say

_MAKE_SECONDS = 120
_PROGRAM_FOLDERS = ("usr/sbin", "usr/bin", "sbin", "bin")
_LIBRARY_FOLDERS = ("usr/lib/*-linux-gnu*", "lib/*-linux-gnu*")


def filesystem_image(model: FilesystemImageModel, cache: Path, say: Say) -> bytes:
    """The image, gzip-compressed, from the cache or made.

    The tools are packages of the suite that the target names, unpacked into the cache: what comes
    out does not depend on what is installed here, beside the C library. Raises ConfigurationError
    where the command is refused by its program, InfrastructureError where a package cannot be had.
    """
    packages = [
        fetch_package(name, model.suite, host_architecture(), cache, say) for name in model.packages
    ]
    ingredients = [model.model_dump(), [package.sha256 for package in packages]]
    key = hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()[:16]
    kept = cache / "images" / f"filesystem-{model.name}-{key}.gz"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        roots = [_unpacked(package, cache) for package in packages]
        # kept compressed: most of a new file system is zeros; no time stamp, so equal stays equal
        write_atomically(kept, gzip.compress(make_image(model, roots), mtime=0))
    return kept.read_bytes()


def make_image(model: FilesystemImageModel, roots: Sequence[Path]) -> bytes:
    """Runs the target's command on an empty file; `roots` are unpacked packages with its program.

    Raises ConfigurationError with what the program said where it fails, is not in the packages, or
    changes the image's size.
    """
    size = model.size_mib << 20
    environment = os.environ | {
        "LC_ALL": "C.UTF-8",
        "PATH": _search_path(roots, _PROGRAM_FOLDERS, os.environ.get("PATH", "")),
        "LD_LIBRARY_PATH": _search_path(
            roots, _LIBRARY_FOLDERS, os.environ.get("LD_LIBRARY_PATH", "")
        ),
    }
    where = f"userland.image {model.name}"
    with tempfile.TemporaryDirectory(prefix="harness-image-") as folder:
        image = Path(folder, "image")
        with image.open("wb") as file:
            file.truncate(size)
        argv = [word.replace(IMAGE_PLACEHOLDER, str(image)) for word in model.make]
        # looked up here: execvpe(3) would search the harness's own PATH
        argv[0] = _program(argv[0], environment["PATH"], where, model)
        try:
            done = subprocess.run(
                argv, env=environment, capture_output=True, text=True, errors="replace",
                stdin=subprocess.DEVNULL, timeout=_MAKE_SECONDS, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise ConfigurationError(
                f"{where}: `{model.make[0]}` was not done after {_MAKE_SECONDS} s"
            ) from error
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip()
            raise ConfigurationError(
                f"{where}: `{' '.join(model.make)}` failed with status {done.returncode}: {said}"
            )
        content = image.read_bytes()
    if len(content) != size:
        raise ConfigurationError(
            f"{where}: expected an image of {size} bytes, found {len(content)}: "
            "the command must not change its size"
        )
    return content


def _program(name: str, path: str, where: str, model: FilesystemImageModel) -> str:
    for folder in path.split(os.pathsep):
        program = Path(folder, name)
        if folder and program.is_file() and os.access(program, os.X_OK):
            return str(program)
    raise ConfigurationError(
        f"{where}: no program {name!r} in the packages {', '.join(model.packages)}, nor on this "
        "host: name its package in `packages`"
    )


def _search_path(roots: Sequence[Path], patterns: Sequence[str], otherwise: str) -> str:
    folders = [
        str(folder)
        for root in roots
        for pattern in patterns
        for folder in sorted(root.glob(pattern))
        if folder.is_dir()
    ]
    return os.pathsep.join([*folders, otherwise] if otherwise else folders)


def _unpacked(package: Package, cache: Path) -> Path:
    folder = cache / "unpacked" / f"{package.name}-{package.sha256[:16]}"
    return make_folder_once(folder, lambda into: unpack(package, into))


def host_architecture() -> str:
    """Debian's name of what this host runs: its tools make the image."""
    try:
        done = subprocess.run(
            ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise InfrastructureError(
            "dpkg does not tell this host's architecture: file-system images need a Debian host"
        ) from error
    return done.stdout.strip()
