# SPDX-License-Identifier: BSD-2-Clause
"""What a full-image guest is given, and where its secrets are."""

import subprocess
from pathlib import Path

import pytest
from running import PROJECT

from harness.kernels.kernel import Kernel
from harness.plan.kernel import KernelRecipe
from harness.plan.load import load_guest, load_target
from harness.plan.needs import TargetUserlandModel
from harness.progress import silent
from harness.systems.base import GuestImage, ImageOrder
from harness.systems.campaign import campaign_keys
from harness.systems.linux import full_image as module
from harness.systems.linux.full_image import full_image, with_disk_and_network
from harness.systems.linux.image import Userland

FULL = "linux-x86_64-full"


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GuestImage:
    monkeypatch.setattr(module, "root_image", lambda *_: tmp_path / "root.ext4")
    monkeypatch.setattr(module, "load_order", lambda *_: [("ext4", b"the ext4 module")])
    file = tmp_path / "file"
    file.write_bytes(b"\x7fELF")
    modules = (("ext4", b"the ext4 module"), ("zram", b"the zram module"))
    userland = Userland(file, file, file, modules, (("/images/xfs.gz", b"image"),))
    kernel = Kernel("label", "5.10", "0" * 64, tmp_path / "vmlinuz", tmp_path)
    target = TargetUserlandModel(setup=["swapon /dev/zram0"])
    order = ImageOrder(load_guest(PROJECT, FULL).model, kernel, target, file, ("quiet",))
    return full_image(order, userland, tmp_path / "cache", silent)


def listed(archive: bytes) -> list[str]:

    done = subprocess.run(["cpio", "-t", "--quiet"], input=archive, capture_output=True, check=True)
    return done.stdout.decode().split()


def test_what_is_handed_over(made: GuestImage, tmp_path: Path) -> None:
    (kept,) = (tmp_path / "cache/images").iterdir()
    names = listed(kept.read_bytes())
    assert {"init", "boot-modules/ext4.ko", "harness/modules/zram.ko", "harness/workload"} <= set(
        names
    )
    assert "harness/images/xfs.gz" in names
    assert "harness/modules/ext4.ko" not in names, "it is loaded already"
    assert made.setup == ("insmod /modules/zram.ko", "swapon /dev/zram0")
    assert made.workload == "/workload"
    assert made.boot.append[-1] == "quiet"
    assert made.boot.disk is not None
    assert made.boot.disk.file == tmp_path / "root.ext4"


def test_keys_are_in_no_file(made: GuestImage, tmp_path: Path) -> None:
    user, server = campaign_keys()
    secret = server.private.splitlines()[2]
    (kept,) = (tmp_path / "cache/images").iterdir()
    assert secret not in kept.read_bytes()
    initrd = made.boot.initrd
    assert isinstance(initrd, Path)
    assert str(initrd.resolve()).startswith("/memfd:")
    content = initrd.read_bytes()
    assert content.startswith(kept.read_bytes())
    assert listed(content[kept.stat().st_size :]) == [
        "harness/ssh",
        "harness/ssh/authorized_keys",
        "harness/ssh/host_key",
    ]
    assert server.private in content
    assert user.public in content
    assert user.private.splitlines()[2] not in content
    assert made.login is not None
    assert made.login.host_key.asbytes() == server.key.asbytes()


def test_the_network_has_no_way_out(made: GuestImage) -> None:
    netdev = made.boot.arguments[made.boot.arguments.index("-netdev") + 1]
    assert "restrict=on" in netdev
    assert "hostfwd=tcp:127.0.0.1:0-" in netdev


def test_kernels_from_source_find_disk_and_network() -> None:
    recipe = load_target(PROJECT, "linux-iomap-migrate").model.kernels["buggy"]["linux-x86_64"]
    changed = with_disk_and_network(recipe)
    assert recipe.source is not None
    assert changed.source is not None
    assert changed.source.config == [*recipe.source.config, "full-image.config"]
    assert replace_source(changed, recipe) == recipe
    packaged = KernelRecipe(package="linux-image-amd64", suite="bookworm")
    assert with_disk_and_network(packaged) is packaged


def replace_source(changed: KernelRecipe, original: KernelRecipe) -> KernelRecipe:
    """The changed recipe with the original's source: all else is to be the same."""
    return changed.model_copy(update={"source": original.source})
