# SPDX-License-Identifier: BSD-2-Clause
"""Kernels out of packages, a metapackage followed to its image."""

from pathlib import Path

import pytest

from harness.errors import InfrastructureError
from harness.kernels import packaged
from harness.kernels.apt import Package
from harness.kernels.packaged import packaged_kernel
from harness.progress import silent


class Archive:
    """Packages by name: their files and what they depend on."""

    def __init__(self, **packages: tuple[list[str], list[str]]) -> None:
        self.packages = {name.replace("_", "-"): value for name, value in packages.items()}
        self.asked: list[str] = []

    def fetch(self, name: str, suite: str, arch: str, cache: Path, say: object) -> Package:
        self.asked.append(f"{name} {suite} {arch}")
        return Package(name, "1", arch, suite, cache / f"{name}.deb", name.ljust(64, "0"))

    def unpack(self, package: Package, folder: Path) -> None:
        for file in self.packages[package.name][0]:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(file)

    def dependencies(self, package: Package) -> list[str]:
        return self.packages[package.name][1]


def use(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> Archive:
    monkeypatch.setattr(packaged, "fetch_package", archive.fetch)
    monkeypatch.setattr(packaged, "unpack", archive.unpack)
    monkeypatch.setattr(packaged, "dependencies", archive.dependencies)
    return archive


@pytest.mark.parametrize("modules", ["lib/modules/6.1-x/a.ko", "usr/lib/modules/6.1-x/a.ko"])
def test_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modules: str) -> None:
    archive = use(Archive(linux_image_6=(["boot/vmlinuz-6.1-x", modules], [])), monkeypatch)
    kernel = packaged_kernel("linux-image-6", "bookworm", "ppc64le", tmp_path, silent)
    assert archive.asked == ["linux-image-6 bookworm ppc64el"]
    assert (kernel.release, kernel.label) == ("6.1-x", "linux-image-6 1")
    assert kernel.modules == (kernel.image.parent.parent / modules).parent
    assert len(kernel.identity) == 64


def test_a_metapackage_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(
        Archive(
            linux_image_cloud=(["usr/share/doc/x"], ["libc6", "linux-image-6"]),
            linux_image_6=(["boot/vmlinux-6.1"], []),
        ),
        monkeypatch,
    )
    kernel = packaged_kernel("linux-image-cloud", "bookworm", "x86_64", tmp_path, silent)
    assert kernel.label == "linux-image-6 1"
    assert kernel.modules is None


def test_a_package_without_a_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(Archive(bash=(["bin/bash"], ["libc6"])), monkeypatch)
    with pytest.raises(InfrastructureError, match="bash 1 holds no kernel in /boot"):
        packaged_kernel("bash", "bookworm", "x86_64", tmp_path, silent)


def test_packages_that_name_each_other_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Archive(
        linux_image_a=(["x"], ["linux-image-b"]), linux_image_b=(["x"], ["linux-image-a"])
    )
    use(loop, monkeypatch)
    with pytest.raises(InfrastructureError, match="no kernel"):
        packaged_kernel("linux-image-a", "bookworm", "x86_64", tmp_path, silent)
