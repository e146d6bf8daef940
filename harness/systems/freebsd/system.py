# SPDX-License-Identifier: BSD-2-Clause
"""FreeBSD as the harness drives it: micro-guests of a kernel, our init, and the workload; and
full images, the project's own with a kernel of ours beside."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from harness.console.guest_channel import GuestChannel
from harness.disk_tools import missing_disk_tools
from harness.errors import ConfigurationError, GuestError, InfrastructureError
from harness.kernels.kernel import Kernel
from harness.kernels.source.build import built_kernel
from harness.kernels.source.builder import Builder
from harness.paths import project_folder
from harness.places.image import KernelImage
from harness.places.symbols import SymbolTable
from harness.plan.guest import GuestModel
from harness.plan.kernel import KernelRecipe
from harness.plan.load import load_guest
from harness.plan.offer import RunOffer
from harness.progress import Say
from harness.systems.base import Debugger, GuestImage, ImageOrder, WorkloadOrder
from harness.systems.freebsd.boot import WITH_SYMBOLS, kernel_boot
from harness.systems.freebsd.builder import freebsd_builder
from harness.systems.freebsd.clang import find_clang
from harness.systems.freebsd.ddb import DDB
from harness.systems.freebsd.full_image import full_image
from harness.systems.freebsd.guest_builder import guest_builder
from harness.systems.freebsd.guest_compiler import compile_in_image
from harness.systems.freebsd.own import FULL_IMAGE, MICRO_GUEST, own_kernel
from harness.systems.freebsd.program import compile_init, compile_workload, is_freebsd_program
from harness.systems.freebsd.requirements import require_tools
from harness.systems.freebsd.root import WORKLOAD_PATH, Root, root_image

_FULL_IMAGE = Path(__file__).parent / "kernel/full-image.conf"
_NO_MODULES = "it loads no modules: build them into the kernel"


class FreeBSD:
    """The micro-guest: a kernel that QEMU starts, its root in memory, our init. The full image."""

    farewell: re.Pattern[bytes] | None = None
    debugger: Debugger | None = DDB
    run_offer = RunOffer(
        title="FreeBSD",
        kernel="a build's kernel.full; on arm64 kernel.bin, with kernel.full beside it",
        without={
            "--initrd": "there is no initramfs, the harness makes the root; put what is to run "
            "into --workload and --setup",
            "--modules": _NO_MODULES,
            "--modules-dir": _NO_MODULES,
        },
        runs=is_freebsd_program,
    )

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
        """A file of the user's own, else built from source: no distribution has packages.

        Raises HarnessError.
        """
        if recipe.file is not None:
            vmlinux = folder / recipe.vmlinux if recipe.vmlinux is not None else None
            needs = FULL_IMAGE if guest.is_full_image else MICRO_GUEST
            return own_kernel(folder / recipe.file, guest.arch, cache, needs, vmlinux)
        if recipe.source is None:
            raise ConfigurationError(
                "a FreeBSD kernel comes from source, or is a file: expected a `source` table or "
                "`file` in the recipe"
            )
        more = (_FULL_IMAGE,) if guest.is_full_image else ()
        builder: Builder
        if recipe.source.build_in is not None:
            machine = load_guest(project_folder(), recipe.source.build_in)
            builder = guest_builder(recipe.source, guest.arch, folder, machine, more)
        else:
            builder = freebsd_builder(recipe.source, guest.arch, folder, more)
        return built_kernel(recipe.source, builder, folder, cache, say)

    async def compile_workload(self, order: WorkloadOrder, cache: Path, say: Say) -> Path:
        """A static program at fixed addresses, with the harness's C library, or the image's own.

        Raises ConfigurationError with the compiler's own message, HarnessError.
        """
        if order.in_guest:
            if order.guest.image is None:
                raise ConfigurationError(
                    "a FreeBSD micro-guest has no compiler: compile on the host, or take a full "
                    "image"
                )
            return await compile_in_image(order, cache, say)
        return compile_workload(order.source, order.guest.arch, cache, order.flags)

    def build_image(self, order: ImageOrder, cache: Path, say: Say) -> GuestImage:
        """The root's image and how the kernel gets it. Raises HarnessError."""
        guest, kernel = order.guest, order.kernel
        if order.userland.modules or order.userland.image:
            raise ConfigurationError(
                "a FreeBSD guest has no modules and no images of file systems: put options "
                "into the kernel's configuration, make disks by `mdconfig` in `setup`"
            )
        if guest.image is not None:
            return full_image(order, cache, say)
        init = compile_init(guest.arch, cache)
        root = root_image(Root(init, order.workload), cache, say)
        append = (*guest.boot.append, *order.append)
        boot = kernel_boot(kernel, guest.arch, root, append, cache)
        return GuestImage(boot, setup=tuple(order.userland.setup), workload=WORKLOAD_PATH)

    def workload_command(
        self, image: GuestImage, seed: int, arguments: Mapping[str, int | str]
    ) -> str:
        """The program with its arguments as `key=value`."""
        words = [image.workload, f"seed={seed}", *(f"{k}={v}" for k, v in arguments.items())]
        return ("exec " if image.login is not None else "") + shlex.join(words)

    def trial_start_command(self, seed: int) -> str:
        """Mixes the seed into the kernel's randomness (random(4)); says so on the console."""
        return f"trial {seed}"

    def symbols_file(self, kernel: Kernel, cache: Path) -> Path:
        """The kernel's ELF file with symbols, kept beside its image."""
        return kernel.image.with_name(WITH_SYMBOLS)

    async def read_symbols(self, channel: GuestChannel) -> bytes:
        """Never: the kernel's file has them. Raises GuestError."""
        raise GuestError("a FreeBSD guest does not tell symbols: its kernel's file has them")

    def kernel_text(self, kernel: Kernel, symbols: SymbolTable) -> KernelImage:
        """The text out of the kernel's ELF file. Raises ConfigurationError."""
        file = kernel.image.with_name(WITH_SYMBOLS)
        return KernelImage.from_elf(file.read_bytes(), kernel.label)

    def module_code(self, kernel: Kernel, module: str) -> bytes:
        """Never: nothing is loaded. Raises ConfigurationError."""
        raise ConfigurationError(f"FreeBSD guests load no modules, so there is no {module}")

    def debug_file(self, kernel: Kernel, module: str | None, cache: Path, say: Say) -> bytes:
        """The kernel's own ELF file. Raises ConfigurationError for a module."""
        if module is not None:
            return self.module_code(kernel, module)
        return kernel.image.with_name(WITH_SYMBOLS).read_bytes()
