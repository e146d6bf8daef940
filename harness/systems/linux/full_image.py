# SPDX-License-Identifier: BSD-2-Clause
"""The Linux full-image guest: a distribution's root on a disk, an initramfs that hands over to it.

What differs between campaigns and targets travels in the initramfs and ends up in /run/harness, a
tmpfs: keys, workload, modules, file-system images. The names that targets know (/workload,
/modules, /images) are links there, so that a target needs to know nothing of it.
"""

import functools
import hashlib
from pathlib import Path

from harness.console.ssh import Login
from harness.files import write_atomically
from harness.plan.kernel import KernelRecipe
from harness.progress import Say
from harness.qemu.command import Boot, Disk
from harness.systems.base import GuestImage, ImageOrder
from harness.systems.campaign import campaign_keys, memory_file
from harness.systems.linux import cpio
from harness.systems.linux.image import WORKLOAD_PATH, Userland, load_commands
from harness.systems.linux.modules import load_order
from harness.systems.linux.root_image import READY_LINE, ROOT_FILES, root_image

_APPLETS = ("chmod", "cp", "insmod", "mkdir", "mount", "sh", "sleep", "switch_root", "sync")
NETWORK = (
    "-netdev",
    # one port of the host's loopback, chosen by the host's kernel, and no way out for the guest
    "user,id=ssh,restrict=on,hostfwd=tcp:127.0.0.1:0-10.0.2.15:22",
    "-device",
    "virtio-net-pci,netdev=ssh,romfile=",
)
_FRAGMENT = "full-image.config"
"""One of the harness's own (harness/kernels/kbuild/fragments)."""
DISK_DEVICE = ("-device", "virtio-blk-pci,drive=root")


def with_disk_and_network(recipe: KernelRecipe) -> KernelRecipe:
    """The recipe, so that a kernel built from source finds the disk and what SSH comes by."""
    if recipe.source is None:
        return recipe
    source = recipe.source.model_copy(update={"config": [*recipe.source.config, _FRAGMENT]})
    return recipe.model_copy(update={"source": source})


def full_image(order: ImageOrder, userland: Userland, cache: Path, say: Say) -> GuestImage:
    """Disk and initramfs of a guest whose config has [userland.root]; its login is in the result.

    `userland` is what the micro-guest would get; its init is not used. Raises HarnessError.
    """
    guest, kernel = order.guest, order.kernel
    assert guest.userland is not None
    assert guest.userland.root is not None
    root = guest.userland.root
    needed = load_order(kernel.modules, root.modules) if kernel.modules is not None else []
    loaded = {name for name, _ in needed}
    modules = tuple((name, data) for name, data in userland.modules if name not in loaded)
    user, server = campaign_keys()
    initramfs = _initramfs(userland, needed, modules, cache)
    return GuestImage(
        boot=Boot(
            kernel.image,
            _with_keys(initramfs),
            (*guest.boot.append, *order.append),
            arguments=(*NETWORK, *DISK_DEVICE),
            disk=Disk(root_image(root, guest.arch, cache, say), "raw"),
        ),
        setup=(*_load(modules), *order.userland.setup),
        workload=WORKLOAD_PATH,
        login=Login("root", user.key, server.key, READY_LINE),
        shell="exec bash -il",
    )


def _load(modules: tuple[tuple[str, bytes], ...]) -> list[str]:
    nowhere = Path()
    return load_commands(Userland(nowhere, nowhere, None, modules))


def _initramfs(
    userland: Userland,
    needed: list[tuple[str, bytes]],
    modules: tuple[tuple[str, bytes], ...],
    cache: Path,
) -> Path:
    """The part of the initramfs that holds no secret, in the cache by its content."""
    folders = ("bin", "boot-modules", "dev", "harness", "harness/images", "harness/modules")
    order = "".join(f"{name}\n" for name, _ in needed)
    entries = [cpio.folder(path) for path in folders]
    entries += [
        cpio.console_device(),
        cpio.file("init", (ROOT_FILES / "initramfs-init.sh").read_bytes(), 0o755),
        cpio.file("bin/busybox", userland.busybox.read_bytes(), 0o755),
        cpio.file("boot-modules/order", order.encode()),
    ]
    entries += [cpio.link(f"bin/{applet}", "busybox") for applet in _APPLETS]
    entries += [cpio.file(f"boot-modules/{name}.ko", data) for name, data in needed]
    entries += [cpio.file(f"harness/modules/{name}.ko", data) for name, data in modules]
    entries += [cpio.file(f"harness{path}", data) for path, data in userland.files]
    if userland.workload is not None:
        entries.append(cpio.file("harness/workload", userland.workload.read_bytes(), 0o755))
    data = cpio.archive(entries)
    image = cache / "images" / f"handover-{hashlib.sha256(data).hexdigest()[:16]}.cpio"
    if not image.exists():
        image.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(image, data)
    return image


@functools.cache
def _with_keys(initramfs: Path) -> Path:
    """The initramfs and an archive of the keys behind it, in memory until the process ends.

    The kernel unpacks archives one after the other (its buffer-format.rst).
    """
    user, server = campaign_keys()
    keys = cpio.archive(
        [
            cpio.folder("harness/ssh"),
            cpio.file("harness/ssh/authorized_keys", user.public, 0o600),
            cpio.file("harness/ssh/host_key", server.private, 0o600),
        ]
    )
    return memory_file("initramfs", initramfs.read_bytes() + keys)
