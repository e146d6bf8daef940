# SPDX-License-Identifier: BSD-2-Clause
"""What differs between FreeBSD's architectures: how things are built, booted and found on disks."""

from dataclasses import dataclass
from pathlib import Path

from harness.errors import ConfigurationError


@dataclass(frozen=True)
class Architecture:
    """One architecture; `target` and `target_arch` are FreeBSD's names (arch(7))."""

    target: str
    target_arch: str
    triple: str
    """What clang calls programs for it."""
    base: Path
    """The kernel's configuration, to which targets add."""
    image: str
    """What the kernel's build leaves, to be booted."""
    boots_by_shim: bool
    """Whether our multiboot shim loads it, with modules; else QEMU does, as it loads Linux, with
    nothing beside it."""
    disk_device: str
    network_device: str
    random_device: str
    """What QEMU calls the virtio devices that base and full-image.conf have drivers for."""
    counts_disks_down: bool
    """Whether what QEMU is told last is the kernel's first disk, vtbd0."""
    efi_loader: bytes
    """The loader's name in the directory of an EFI partition's FAT."""
    has_bios_loader: bool
    """Whether an image may boot from a partition of type freebsd-boot."""


_FOLDER = Path(__file__).parent / "kernel"

ARCHITECTURES = {
    "x86_64": Architecture(
        target="amd64",
        target_arch="amd64",
        triple="x86_64-unknown-freebsd13",
        base=_FOLDER / "base-amd64.conf",
        image="kernel",
        boots_by_shim=True,
        disk_device="virtio-blk-pci",
        network_device="virtio-net-pci,romfile=",
        random_device="virtio-rng-pci",
        counts_disks_down=False,
        efi_loader=b"BOOTX64 EFI",
        has_bios_loader=True,
    ),
    "arm64": Architecture(
        target="arm64",
        target_arch="aarch64",
        triple="aarch64-unknown-freebsd13",
        base=_FOLDER / "base-arm64.conf",
        image="kernel.bin",
        boots_by_shim=False,
        disk_device="virtio-blk-device",
        network_device="virtio-net-device",
        random_device="virtio-rng-device",
        # QEMU fills the transports from the highest address on (hw/arm/virt.c,
        # create_virtio_devices()), the kernel finds them from the lowest
        counts_disks_down=True,
        efi_loader=b"BOOTAA64EFI",
        has_bios_loader=False,
    ),
}
"""By the harness's names."""


def architecture(name: str) -> Architecture:
    """By the harness's name. Raises ConfigurationError for one without FreeBSD guests."""
    try:
        return ARCHITECTURES[name]
    except KeyError:
        raise ConfigurationError(
            f"FreeBSD kernels are built for {' and '.join(ARCHITECTURES)}, not for {name} "
            "(docs/freebsd.md says where that ends)"
        ) from None
