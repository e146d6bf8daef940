# SPDX-License-Identifier: BSD-2-Clause
"""What a FreeBSD full-image guest is booted with, and what its compiler's failures mean."""

import io
import os
import stat
import tarfile
from pathlib import Path

import pytest

from harness.errors import ConfigurationError
from harness.kernels.kernel import Kernel
from harness.paths import PROJECT
from harness.plan.load import load_guest
from harness.plan.needs import TargetUserlandModel
from harness.qemu.command import Boot, Disk
from harness.systems.base import ImageOrder
from harness.systems.campaign import campaign_keys
from harness.systems.freebsd import full_image as module
from harness.systems.freebsd.first_boot import FirstBoot
from harness.systems.freebsd.full_image import PreparedImage, full_image
from harness.systems.freebsd.system import FreeBSD
from harness.systems.freebsd.vm_image import VmImage

GUEST = load_guest(PROJECT, "freebsd-amd64-full").model
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBs7OBY5Kc8nQX+Sx6HCP7uZG9r0vJrxfzwBOeEPdSxS"


@pytest.fixture
def order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageOrder:
    """An order whose image is behind its first boot already."""
    (tmp_path / "kernel").mkdir()
    workload = tmp_path / "program"
    workload.write_bytes(b"a program")
    facts = FirstBoot(HOST_KEY, "13.2-RELEASE", "/usr/bin/cc", 1000)
    disk = Disk(tmp_path / "disk.qcow2", "qcow2")
    prepared = PreparedImage(disk, "ufs:/dev/gpt/rootfs", facts, "0" * 16)
    monkeypatch.setattr(module, "prepared_image", lambda *_: prepared)
    kernel = Kernel("it", "13.2-RELEASE", "0" * 64, tmp_path / "kernel/image", None)
    monkeypatch.setattr(
        module,
        "kernel_boot",
        lambda kernel, arch, root, words, cache: Boot(kernel.image, None, words),
    )
    userland = TargetUserlandModel(setup=["mdconfig 16"])
    return ImageOrder(GUEST, kernel, userland, workload, ("hw.physmem=80M",))


def test_the_kernel_is_beside_the_image_and_its_root_in_it(
    order: ImageOrder, tmp_path: Path
) -> None:
    image = full_image(order, tmp_path, lambda _: None)
    assert image.boot.kernel == order.kernel.image
    assert image.boot.append[-2:] == ("vfs.root.mountfrom=ufs:/dev/gpt/rootfs", "hw.physmem=80M")
    assert image.boot.disk == Disk(tmp_path / "disk.qcow2", "qcow2")
    assert image.setup == ("mdconfig 16",)
    assert image.login is not None
    assert f"ssh-ed25519 {image.login.host_key.get_base64()}" == HOST_KEY
    assert image.login.key is campaign_keys()[0].key
    command = FreeBSD().workload_command(image, 7, {"mode": "a b"})
    assert command == "exec /workload seed=7 'mode=a b'"


def test_the_campaign_s_disk_holds_the_key_and_the_workload(
    order: ImageOrder, tmp_path: Path
) -> None:
    arguments = full_image(order, tmp_path, lambda _: None).boot.arguments
    (drive,) = (word for word in arguments if word.startswith("id=campaign"))
    assert "readonly=on" in drive
    content = Path(drive.partition("file=")[2]).read_bytes()
    assert len(content) % 512 == 0
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        found = {m.name: (m.mode, archive.extractfile(m).read()) for m in archive}  # type: ignore[union-attr]
    assert found == {
        "authorized_keys": (0o600, campaign_keys()[0].public),
        "workload": (0o755, b"a program"),
    }


def test_a_host_key_that_is_none(order: ImageOrder, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="host key is not usable"):
        module._public_key("ssh-ed25519 AAAA")


def test_the_first_boot_s_files_are_executable_where_they_are_programs() -> None:
    modes = {name: mode for name, (_, mode) in module._companions().items()}
    assert modes["shell"] == modes["bin/mdconfig"] == modes["etc/harness"] == 0o755
    assert modes["etc/rc.conf"] == 0o644
    assert "first-boot.sh" in modes


def test_what_the_first_boot_leaves_is_its_user_s_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the private key of the guests' SSH server is in there
    facts = FirstBoot(HOST_KEY, "13.2-RELEASE", "none", 1000)
    image = VmImage(Disk(tmp_path / "disk.raw", "raw"), "ufs:/dev/gpt/rootfs", "1", "disk.raw")
    made: list[int] = []

    def overlay(_: Disk, file: Path) -> None:
        file.write_bytes(b"a key")
        made.append(stat.S_IMODE(file.stat().st_mode))

    monkeypatch.setattr(module, "find_image", lambda *_: image)
    monkeypatch.setattr(module, "require_qemu", lambda _: None)
    monkeypatch.setattr(module, "choose_accelerator", lambda *_: "tcg")
    monkeypatch.setattr(module, "machine_of", lambda *_: None)
    monkeypatch.setattr(module, "make_overlay", overlay)
    monkeypatch.setattr(module, "_converse", lambda *_: facts)
    monkeypatch.setattr(module, "kernel_boot", lambda kernel, *_: Boot(kernel.image, None, ()))
    kernel = Kernel("it", "13.2-RELEASE", "0" * 64, tmp_path / "image", None)
    before = os.umask(0)
    try:
        prepared = module.prepared_image(GUEST, kernel, tmp_path, lambda _: None)
    finally:
        os.umask(before)
    assert prepared.facts == facts
    folder = prepared.disk.file.parent
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}
    assert modes == {folder.name: 0o700, "disk.qcow2": 0o600, "first-boot.json": 0o600}
    assert made == [0o600]
    # and the next campaign finds it there
    monkeypatch.setattr(module, "_converse", None)
    assert module.prepared_image(GUEST, kernel, tmp_path, lambda _: None) == prepared


@pytest.mark.parametrize(
    ("guest", "devices"),
    [
        ("x86_64", ["virtio-blk-pci", "virtio-net-pci", "virtio-rng-pci"]),
        # no PCI in base-arm64.conf
        ("arm64", ["virtio-blk-device", "virtio-net-device", "virtio-rng-device"]),
    ],
)
def test_devices_that_the_kernels_have_drivers_for(guest: str, devices: list[str]) -> None:
    arguments = module._devices(guest, Path("campaign"))
    words = [w for w, before in zip(arguments[1:], arguments, strict=False) if before == "-device"]
    assert [word.partition(",")[0] for word in words] == [devices[0], *devices]
    # the kernel of arm64 finds first what QEMU was told of last
    assert words[guest == "arm64"].endswith("drive=root")
    assert "drive=campaign" in words[guest != "arm64"]


def test_an_image_that_cannot_be_used_is_named(
    order: ImageOrder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ConfigurationError("there is no sshd in it")

    image = VmImage(Disk(tmp_path / "disk.raw", "raw"), "ufs:/dev/gpt/rootfs", "1", "disk.raw")
    monkeypatch.setattr(module, "require_qemu", lambda _: None)
    monkeypatch.setattr(module, "choose_accelerator", lambda *_: "tcg")
    monkeypatch.setattr(module, "machine_of", lambda *_: None)
    monkeypatch.setattr(module, "make_overlay", lambda *_: None)
    monkeypatch.setattr(module, "_converse", refuse)
    folder = tmp_path / "cache/images/freebsd/booted"
    folder.mkdir(parents=True)
    with pytest.raises(ConfigurationError, match=r"^\[image\] disk\.raw: there is no sshd in it$"):
        module._boot_once(image, GUEST, order.kernel, folder, lambda _: None)
    assert not list(folder.iterdir())
