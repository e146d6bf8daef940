# SPDX-License-Identifier: BSD-2-Clause
"""Tests of where a kernel's debugging information comes from."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import ConfigurationError, InfrastructureError
from harness.kernels.apt import Package, PackageUnavailableError
from harness.kernels.kernel import Kernel
from harness.systems.linux import debug_file as under_test
from harness.systems.linux.debug_file import debug_file

RELEASE = "6.1.0-50-cloud-amd64"
PACKAGE = Package(f"linux-image-{RELEASE}", "6.1.176-1", "amd64", "bookworm", Path("x"), "0")


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    modules = tmp_path / "lib/modules" / RELEASE
    (modules / "kernel/drivers/block").mkdir(parents=True)
    (modules / "kernel/drivers/block/some-disk.ko").write_bytes(b"code")
    return Kernel("a kernel", RELEASE, "0" * 64, tmp_path / "vmlinuz", modules)


def test_a_built_kernel_has_its_own(kernel: Kernel, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"vmlinux of a kernel.*CONFIG_DEBUG_INFO=y"):
        debug_file(kernel, None, tmp_path, print)
    (tmp_path / "vmlinux").write_bytes(b"dwarf")
    built = replace(kernel, vmlinux=tmp_path / "vmlinux")
    assert debug_file(built, None, tmp_path, print) == b"dwarf"
    assert debug_file(built, "some_disk", tmp_path, print) == b"code"
    with pytest.raises(ConfigurationError, match="no module other: there is none"):
        debug_file(built, "other", tmp_path, print)


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb to make a package")
def test_a_packaged_kernel_s_is_in_the_package_beside_it(
    kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    debug = debug_package(tmp_path)
    asked = []

    def fetch(name: str, suite: str, arch: str, cache: Path, say: object, version: str) -> Package:
        asked.append((name, suite, arch, version))
        return debug

    monkeypatch.setattr(under_test, "fetch_package", fetch)
    packaged = replace(kernel, package=PACKAGE)
    cache = tmp_path / "cache"
    assert debug_file(packaged, None, cache, print) == b"the kernel's"
    assert debug_file(packaged, "some_disk", cache, print) == b"the module's"
    assert asked == [(f"{PACKAGE.name}-dbg", "bookworm", "amd64", "6.1.176-1")] * 2
    # what was taken out is kept
    debug.file.unlink()
    assert debug_file(packaged, None, cache, print) == b"the kernel's"
    with pytest.raises(ConfigurationError, match="has no module other"):
        debug_file(packaged, "other", cache, print)


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb to make a package")
def test_a_package_without_the_file_leaves_nothing(
    kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    debug = debug_package(tmp_path)
    monkeypatch.setattr(under_test, "fetch_package", lambda *_: debug)
    other = replace(kernel, package=PACKAGE, release="6.1.0-51-cloud-amd64")
    for _ in range(2):
        with pytest.raises(InfrastructureError, match=r"no usr/lib/debug/boot/vmlinux-6\.1\.0-51"):
            debug_file(other, None, tmp_path / "cache", print)


def test_a_suite_without_the_package(
    kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(*_: object) -> Package:
        raise PackageUnavailableError("the suite bookworm has no package of that name")

    monkeypatch.setattr(under_test, "fetch_package", fetch)
    with pytest.raises(PackageUnavailableError, match="cloud-amd64-dbg: the suite"):
        debug_file(replace(kernel, package=PACKAGE), None, tmp_path, print)


def debug_package(folder: Path) -> Package:
    root = folder / "root"
    files = root / "usr/lib/debug"
    module = files / f"lib/modules/{RELEASE}/kernel/drivers/block"
    for path in (files / "boot", module, root / "DEBIAN"):
        path.mkdir(parents=True)
    (files / "boot" / f"vmlinux-{RELEASE}").write_bytes(b"the kernel's")
    (module / "some-disk.ko").write_bytes(b"the module's")
    (root / "DEBIAN/control").write_text(
        "Package: debug\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: x\n"
    )
    file = folder / "debug.deb"
    subprocess.run(
        ["dpkg-deb", "--build", root, file], check=True, stdout=subprocess.DEVNULL, timeout=60
    )
    return Package("debug", "1", "all", "bookworm", file, "1" * 64)
