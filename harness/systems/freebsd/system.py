# SPDX-License-Identifier: BSD-2-Clause
"""FreeBSD as the harness drives it: micro-guests of a kernel, our init, and the workload."""

import hashlib
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from harness.console.guest_channel import GuestChannel
from harness.disk_tools import missing_disk_tools
from harness.errors import ConfigurationError, GuestError, InfrastructureError
from harness.files import write_atomically
from harness.kernels.kernel import Kernel
from harness.kernels.source.build import built_kernel
from harness.places.image import KernelImage
from harness.places.symbols import SymbolTable
from harness.plan.guest import GuestModel
from harness.plan.kernel import KernelRecipe
from harness.progress import Say
from harness.qemu.command import Boot
from harness.systems.base import Debugger, GuestImage, ImageOrder, WorkloadOrder
from harness.systems.freebsd.builder import freebsd_builder
from harness.systems.freebsd.clang import find_clang
from harness.systems.freebsd.ddb import DDB
from harness.systems.freebsd.embedded import embed
from harness.systems.freebsd.program import compile_init, compile_shim, compile_workload
from harness.systems.freebsd.requirements import require_tools
from harness.systems.freebsd.root import WORKLOAD_PATH, Root, root_image

_WITH_SYMBOLS = "vmlinux"
"""The kernel's ELF file with symbols and lines, beside its image."""


class FreeBSD:
    """The micro-guest: a kernel that QEMU starts, its root in memory, our init."""

    farewell: re.Pattern[bytes] | None = None
    debugger: Debugger | None = DDB

    def missing_tools(self, guest: GuestModel) -> str | None:
        """What kernels, which come from source only, init and workloads are built with."""
        try:
            require_tools()
            find_clang()
        except InfrastructureError as error:
            return str(error)
        return missing_disk_tools() if guest.is_full_image else None

    def acquire_kernel(
        self, recipe: KernelRecipe, guest: GuestModel, folder: Path, cache: Path, say: Say
    ) -> Kernel:
        """A kernel built from source: no distribution has packages. Raises HarnessError."""
        if recipe.source is None:
            raise ConfigurationError(
                "a FreeBSD kernel comes from source only: expected a `source` table in the recipe"
            )
        builder = freebsd_builder(recipe.source, guest.arch, folder)
        return built_kernel(recipe.source, builder, folder, cache, say)

    async def compile_workload(self, order: WorkloadOrder, cache: Path, say: Say) -> Path:
        """A static program at fixed addresses, with the harness's C library.

        Raises ConfigurationError with the compiler's own message, InfrastructureError.
        """
        if order.in_guest:
            raise ConfigurationError(
                "a FreeBSD micro-guest has no compiler: compile on the host, or take a full image"
            )
        return compile_workload(order.source, order.guest.arch, cache, order.flags)

    def build_image(self, order: ImageOrder, cache: Path, say: Say) -> GuestImage:
        """The root's image and how the kernel gets it. Raises HarnessError."""
        guest, kernel = order.guest, order.kernel
        if order.userland.modules or order.userland.image:
            raise ConfigurationError(
                "a FreeBSD micro-guest has no modules and no images of file systems: put options "
                "into the kernel's configuration, make disks by `mdconfig` in `setup`"
            )
        init = compile_init(guest.arch, cache)
        root = root_image(Root(init, order.workload), cache, say)
        append = (*guest.boot.append, *order.append)
        boot = (
            _embedding_boot(kernel, root, append, cache)
            if guest.arch == "arm64"
            else _multiboot(kernel, root, append, cache)
        )
        return GuestImage(boot, setup=tuple(order.userland.setup), workload=WORKLOAD_PATH)

    def workload_command(
        self, image: GuestImage, seed: int, arguments: Mapping[str, int | str]
    ) -> str:
        """The program with its arguments as `key=value`."""
        words = [image.workload, f"seed={seed}", *(f"{k}={v}" for k, v in arguments.items())]
        return shlex.join(words)

    def trial_start_command(self, seed: int) -> str:
        """Mixes the seed into the kernel's randomness (random(4)); says so on the console."""
        return f"trial {seed}"

    def symbols_file(self, kernel: Kernel, cache: Path) -> Path:
        """The kernel's ELF file with symbols, kept beside its image."""
        return kernel.image.with_name(_WITH_SYMBOLS)

    async def read_symbols(self, channel: GuestChannel) -> bytes:
        """Never: the kernel's file has them. Raises GuestError."""
        raise GuestError("a FreeBSD guest does not tell symbols: its kernel's file has them")

    def kernel_text(self, kernel: Kernel, symbols: SymbolTable) -> KernelImage:
        """The text out of the kernel's ELF file. Raises ConfigurationError."""
        file = kernel.image.with_name(_WITH_SYMBOLS)
        return KernelImage.from_elf(file.read_bytes(), kernel.label)


def _multiboot(kernel: Kernel, root: Path, append: tuple[str, ...], cache: Path) -> Boot:
    """amd64: the shim, with kernel and root as its modules."""
    shim = compile_shim(cache)
    for file in (kernel.image, root):
        if " " in str(file):  # QEMU takes what follows a space for the module's arguments
            raise ConfigurationError(
                f"QEMU cannot load a multiboot module whose path has a space: {file}; set "
                "HARNESS_CACHE to another folder"
            )
    modules = ",".join(str(file).replace(",", ",,") for file in (kernel.image, root))
    # QEMU puts the shim's own path before what is appended
    return Boot(shim, modules, ("--", *append))


def _embedding_boot(kernel: Kernel, root: Path, append: tuple[str, ...], cache: Path) -> Boot:
    """arm64: a copy of the kernel with the root inside, started as Linux is."""
    key = hashlib.sha256(f"{kernel.identity} {root.name}".encode()).hexdigest()[:16]
    image = cache / "images" / f"freebsd-arm64-{key}.bin"
    if not image.exists():
        elf = kernel.image.with_name(_WITH_SYMBOLS)
        write_atomically(image, embed(kernel.image, elf, root, kernel.label))
    # sys/arm64/arm64/machdep_boot.c: a command line that begins so is the kernel's environment
    first, *others = append
    return Boot(image, None, (f"FreeBSD:{first}", *others))
