# SPDX-License-Identifier: BSD-2-Clause
"""The model behind guest-configs/*.toml."""

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, model_validator

from harness.plan.model import Arch, Model, Name, SystemName


class MachineModel(Model):
    """[machine] of a guest config: QEMU's program and the virtual hardware."""

    qemu: str
    machine: str
    cpu: str
    vcpus: int = Field(ge=1, le=64)
    memory_mib: int = Field(ge=64, le=65536)
    accelerator: Literal["auto", "tcg", "kvm"] = "auto"
    console: list[str] = ["-serial", "chardev:console"]
    control: list[str] = ["-serial", "chardev:control"]
    """QEMU's arguments for the console's port and for the control channel's, whose character
    devices are named `console` and `control`."""
    arguments: list[str] = []


class BootModel(Model):
    """[boot] of a guest config: how the kernel is started and what it is told."""

    method: Literal["direct"]
    append: list[str]
    seconds: PositiveFloat = 120.0
    snapshot: bool = True


class PackageModel(Model):
    """A distribution package by name and suite."""

    package: str
    suite: str


class CompilerModel(Model):
    """[userland.compiler] of a guest config: the compiler that runs in a guest."""

    packages: list[str] = Field(min_length=1)
    """With all that they depend on they are the disk's content."""
    suite: str
    program: str = "gcc"
    memory_mib: int = Field(default=768, ge=256, le=65536)
    """Of the guest that compiles."""


class RootModel(Model):
    """[userland.root] of a guest config: a disk image of a distribution's root, driven by SSH."""

    suite: str
    packages: list[str] = []
    """Beside those that a root needs to be logged in to; with all that they depend on."""
    size_mib: int = Field(ge=1, le=65536)
    modules: list[str] = []
    """What the kernel needs to find disk and network, where it has them as modules."""


class ImageModel(Model):
    """[image] of a guest config: an operating system's own VM image, which nobody writes to."""

    file: str | None = None
    """An absolute path, `~` included."""
    url: str | None = Field(default=None, pattern=r"^https?://")
    """Without `sha256` the file CHECKSUM.SHA256 beside it says what it should be."""
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Of the file as it is downloaded, compressed or not."""
    kernel: str | None = None
    """An absolute path: what the image is booted with to build another kernel in it."""

    @model_validator(mode="after")
    def _one_place(self) -> "ImageModel":
        if (self.file is None) == (self.url is None):
            raise ValueError("expected `file` or `url`, one of them")
        for key, path in (("file", self.file), ("kernel", self.kernel)):
            if path is not None and not Path(path).expanduser().is_absolute():
                raise ValueError(f"`{key}` must be an absolute path, found {path!r}")
        return self


class GuestUserlandModel(Model):
    """[userland] of a guest config: what its image is made from."""

    busybox: PackageModel
    root: RootModel | None = None
    compiler: CompilerModel | None = None


class GuestModel(Model):
    """A guest config."""

    title: str
    system: SystemName
    arch: Arch
    like: Name | None = None
    """Another guest, whose part in targets this one takes: their kernels and arms of that name."""
    machine: MachineModel
    boot: BootModel
    kernel: PackageModel | None = None
    """The distribution's kernel for it: where no target names one, and to compile in a guest."""
    userland: GuestUserlandModel | None = None
    image: ImageModel | None = None

    @property
    def is_full_image(self) -> bool:
        """Whether it has a disk with a distribution's root, and is driven over SSH."""
        return self.image is not None or (
            self.userland is not None and self.userland.root is not None
        )

    @property
    def compiles(self) -> bool:
        """Whether a guest of this kind can compile workloads."""
        return self.compiler is not None or self.image is not None

    @property
    def compiler(self) -> CompilerModel | None:
        """The compiler that runs in a guest, where there is one."""
        return self.userland.compiler if self.userland is not None else None

    @model_validator(mode="after")
    def _linux_has_a_userland(self) -> "GuestModel":
        if self.system == "linux" and self.userland is None:
            raise ValueError("a Linux guest needs a [userland] table with `busybox`")
        if self.image is not None and self.system != "freebsd":
            raise ValueError("[image] is for FreeBSD; a Linux guest has [userland.root]")
        if self.compiler is not None and self.kernel is None:
            raise ValueError("[userland.compiler] needs a [kernel] table: what it runs on")
        return self
