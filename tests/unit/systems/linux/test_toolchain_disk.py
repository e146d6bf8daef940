# SPDX-License-Identifier: BSD-2-Clause
"""The toolchain disk's image: what is on it, and what is said where it cannot be made."""

import shutil
import subprocess
from pathlib import Path

import pytest

from harness.errors import ConfigurationError, InfrastructureError
from harness.files import file_hash
from harness.kernels import apt
from harness.plan.guest import CompilerModel
from harness.progress import silent
from harness.systems.linux import toolchain_disk as module
from harness.systems.linux.toolchain_disk import make_image, toolchain_disk

COMPILER = CompilerModel(packages=["gcc", "libc6-dev"], suite="bookworm")
DEBUGFS = shutil.which("debugfs", path="/usr/sbin:/sbin")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name in ("usr/bin/gcc", "usr/lib/x-linux-gnu/libc.a", "usr/lib64/ld.so", "usr/share/doc/x",
                 "usr/lib/gcc/x/12/cc1", "usr/lib/gcc/x/12/lto1", "etc/passwd"):  # fmt: skip
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def listing(image: Path, folder: str) -> list[str]:
    if DEBUGFS is None:
        pytest.skip("debugfs (e2fsprogs) is not installed")
    done = subprocess.run(
        [DEBUGFS, "-R", f"ls -p {folder}", image], capture_output=True, text=True, check=True
    )
    return [line.split("/")[5] for line in done.stdout.splitlines() if line.startswith("/")]


def test_a_compiler_and_places_to_mount_at(root: Path, tmp_path: Path) -> None:
    make_image(root, tmp_path / "disk.img", COMPILER)
    top = listing(tmp_path / "disk.img", "/")
    assert {"usr", "bin", "lib", "lib64", "dev", "proc", "tmp"} <= set(top)
    assert "etc" not in top
    assert "share" not in listing(tmp_path / "disk.img", "/usr")
    parts = listing(tmp_path / "disk.img", "/usr/lib/gcc/x/12")
    assert "cc1" in parts and "lto1" not in parts


@pytest.mark.parametrize(
    ("gone", "message"),
    [("usr/bin/gcc", "no program 'gcc'"), ("usr/lib/x-linux-gnu/libc.a", "no static C library")],
)
def test_packages_that_hold_no_compiler_are_told(
    root: Path, tmp_path: Path, gone: str, message: str
) -> None:
    (root / gone).unlink()
    with pytest.raises(ConfigurationError, match=message) as got:
        make_image(root, tmp_path / "disk.img", COMPILER)
    assert "gcc, libc6-dev of bookworm" in str(got.value)


def test_a_host_without_mke2fs_is_told(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(module, "_FOLDERS", ())
    with pytest.raises(InfrastructureError, match="apt-get install e2fsprogs"):
        make_image(root, tmp_path / "disk.img", COMPILER)


def test_an_image_that_cannot_be_written_is_told(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match=r"cannot make the toolchain disk of \d+ MiB"):
        make_image(root, tmp_path / "no-folder" / "disk.img", COMPILER)


def test_a_disk_is_made_once_and_nothing_is_left_of_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def download(
        names: list[str], suite: str, architecture: str, folder: Path, cache: Path, say: object
    ) -> list[apt.Package]:
        made.append(f"{suite}-{architecture}")
        file = folder / "gcc.deb"
        file.write_text("x")
        return [apt.Package("gcc", "12", architecture, suite, file, file_hash(file))]

    def unpack(package: apt.Package, folder: Path) -> None:
        if len(made) == 1:
            raise InfrastructureError("damaged")
        for name in ("usr/bin/gcc", "usr/lib/x-linux-gnu/libc.a"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(name)

    monkeypatch.setattr(module, "download_with_dependencies", download)
    monkeypatch.setattr(module, "unpack", unpack)
    with pytest.raises(InfrastructureError, match="damaged"):
        toolchain_disk(COMPILER, "arm64", tmp_path, silent)
    assert not list((tmp_path / "toolchains").iterdir())
    first = toolchain_disk(COMPILER, "arm64", tmp_path, silent)
    assert toolchain_disk(COMPILER, "arm64", tmp_path, silent) == first
    assert made == ["bookworm-arm64"] * 2
    assert sorted(path.name for path in first.image.parent.iterdir()) == [
        "disk.img",
        "packages.json",
    ]
