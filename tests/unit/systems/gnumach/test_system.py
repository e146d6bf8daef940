# SPDX-License-Identifier: BSD-2-Clause
"""GNU Mach behind the harness's interface of a system: what is booted, said and refused."""

import asyncio
import gzip
from pathlib import Path
from typing import Any

import pytest
from test_memory import elf32

from harness.errors import ConfigurationError, InfrastructureError
from harness.kernels.apt import Package
from harness.kernels.kernel import Kernel
from harness.plan.guest import GuestModel
from harness.plan.kernel import KernelRecipe
from harness.plan.load import load_guest
from harness.plan.needs import TargetUserlandModel
from harness.systems.base import GuestImage, ImageOrder, WorkloadOrder
from harness.systems.gnumach import packaged, system
from harness.systems.gnumach.packaged import packaged_gnumach
from harness.systems.gnumach.system import GnuMach

PROJECT = Path(__file__).resolve().parents[4]
MACH = GnuMach()


@pytest.fixture
def guest() -> GuestModel:
    return load_guest(PROJECT, "gnumach-i686").model


def order(folder: Path, guest: GuestModel, **changes: Any) -> ImageOrder:
    folder.mkdir(exist_ok=True)
    (folder / "kernel").write_bytes(elf32(1 << 24, 4096))
    (folder / "program").write_bytes(b"program")
    kernel = Kernel("gnumach", "1.8", "0", folder / "kernel", None)
    fields: dict[str, Any] = {"workload": folder / "program", "append": ("-d",)} | changes
    return ImageOrder(guest, kernel, fields.pop("userland", TargetUserlandModel()), **fields)


@pytest.fixture(autouse=True)
def _shim(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(system, "compile_shim", lambda cache: tmp_path / "shim")


def test_kernel_and_program_are_modules_of_the_shim(tmp_path: Path, guest: GuestModel) -> None:
    folder = tmp_path / "a,b"
    image = MACH.build_image(order(folder, guest), tmp_path, print)
    argv = image.boot.argv()
    assert argv[argv.index("-kernel") + 1] == f"{tmp_path}/shim"
    doubled = str(folder).replace(",", ",,")  # QEMU's commas are between modules
    assert argv[argv.index("-initrd") + 1] == f"{doubled}/kernel,{doubled}/program"
    assert argv[argv.index("-append") + 1] == "console=com0 -d"
    assert image.setup == ()


def test_a_path_that_qemu_would_cut_is_refused(tmp_path: Path, guest: GuestModel) -> None:
    with pytest.raises(ConfigurationError, match=r"path has a space: .*with space/kernel"):
        MACH.build_image(order(tmp_path / "with space", guest), tmp_path, print)


def test_what_a_mach_guest_does_not_have_is_refused(tmp_path: Path, guest: GuestModel) -> None:
    userland = TargetUserlandModel(setup=["mount /dev/ram0 /mnt"])
    with pytest.raises(ConfigurationError, match="no modules, file systems or commands"):
        MACH.build_image(order(tmp_path, guest, userland=userland), tmp_path, print)
    with pytest.raises(ConfigurationError, match="without a workload"):
        MACH.build_image(order(tmp_path, guest, workload=None), tmp_path, print)
    asked = WorkloadOrder(tmp_path / "x.c", guest, in_guest=True)
    with pytest.raises(ConfigurationError, match="no compiler"):
        asyncio.run(MACH.compile_workload(asked, tmp_path, print))


def test_other_architectures_are_refused(tmp_path: Path, guest: GuestModel) -> None:
    arm = guest.model_copy(update={"arch": "arm64"})
    with pytest.raises(ConfigurationError, match="not on arm64"):
        MACH.acquire_kernel(KernelRecipe(package="x", suite="sid"), arm, tmp_path, tmp_path, print)


def test_commands(tmp_path: Path, guest: GuestModel) -> None:
    image: GuestImage = MACH.build_image(order(tmp_path, guest), tmp_path, print)
    said = MACH.workload_command(image, 7, {"threads": 4, "mix": 10})
    assert said == "workload seed=7 threads=4 mix=10"
    assert MACH.trial_start_command(7) == "trial 7"


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, dict[str, bytes]]:
    """Packages by name with their files in /boot, as apt would give them."""
    there: dict[str, dict[str, bytes]] = {}

    def fetch(name: str, suite: str, architecture: str, cache: Path, say: object) -> Package:
        return Package(name, "1.8", architecture, suite, tmp_path / name, name.encode().hex())

    def unpack(package: Package, folder: Path) -> None:
        (folder / "boot").mkdir()
        for name, content in there[package.name].items():
            (folder / "boot" / name).write_bytes(content)

    monkeypatch.setattr(packaged, "fetch_package", fetch)
    monkeypatch.setattr(packaged, "unpack", unpack)
    monkeypatch.setattr(
        packaged,
        "dependencies",
        lambda p: ["libc6", "gnumach-image-real"] if "meta" in p.name else [],
    )
    return there


def test_a_packaged_kernel_is_uncompressed(
    packages: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    packages["gnumach-image-meta"] = {}
    packages["gnumach-image-real"] = {"gnumach-1.8-486-smp-dbg.gz": gzip.compress(b"\x7fELF...")}
    kernel = packaged_gnumach("gnumach-image-meta", "sid", "i386", tmp_path, print)
    assert kernel.image.read_bytes() == b"\x7fELF..."
    assert kernel.release == "1.8-486-smp-dbg"
    assert kernel.label == "gnumach-image-real 1.8"
    again = packaged_gnumach("gnumach-image-meta", "sid", "i386", tmp_path, print)
    assert again == kernel


def test_a_package_without_a_kernel_is_told(
    packages: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    packages["gnumach-common"] = {}
    with pytest.raises(InfrastructureError, match=r"gnumach-common 1\.8 holds no GNU Mach"):
        packaged_gnumach("gnumach-common", "sid", "i386", tmp_path, print)
