# SPDX-License-Identifier: BSD-2-Clause
"""GNU Mach as the harness drives it: no operating system around it, one task with the workload."""

import re
from collections.abc import Mapping
from pathlib import Path

from harness.console.guest_channel import GuestChannel
from harness.errors import ConfigurationError, GuestError
from harness.kernels.distributed import distributed_kernel
from harness.kernels.kernel import Kernel
from harness.kernels.source.build import built_kernel
from harness.places.image import KernelImage
from harness.places.symbols import SymbolTable
from harness.plan.guest import GuestModel
from harness.plan.kernel import KernelRecipe
from harness.plan.offer import RunOffer
from harness.progress import Say
from harness.qemu.command import Boot
from harness.systems.base import Debugger, GuestImage, ImageOrder, WorkloadOrder
from harness.systems.gnumach.builder import gnumach_builder, own_configurations
from harness.systems.gnumach.memory import require_room
from harness.systems.gnumach.own import own_gnumach
from harness.systems.gnumach.packaged import packaged_gnumach
from harness.systems.gnumach.program import compile_bootstrap, compile_shim, missing_compiler

_NO_COMMANDS = "it runs nothing but the workload"
_NO_MODULES = "it has no modules"


class GnuMach:
    """The Mach guest: a multiboot shim, the kernel, and the workload as the bootstrap program."""

    farewell: re.Pattern[bytes] | None = None
    debugger: Debugger | None = None
    run_offer = RunOffer(
        title="GNU Mach",
        kernel="a build's gnumach, with its symbols",
        without={
            "--initrd": "its root is the workload, which is the only task",
            "--command": _NO_COMMANDS,
            "--setup": _NO_COMMANDS,
            "--modules": _NO_MODULES,
            "--modules-dir": _NO_MODULES,
            "--vmlinux": "--kernel is its ELF file already",
            "--must-end": "whether the workload is alive is told by its heartbeats",
        },
        header="mach.h",
        plain=False,
        config=("smp-kdb.configure",),
        fragments=tuple(own_configurations()),
    )

    def missing_tools(self, guest: GuestModel) -> str | None:
        """A C compiler without any library: all programs are freestanding."""
        return missing_compiler()

    def acquire_kernel(
        self, recipe: KernelRecipe, guest: GuestModel, folder: Path, cache: Path, say: Say
    ) -> Kernel:
        """A file of the user's own, the distribution's package, else a kernel built from source.

        Raises HarnessError.
        """
        _require_architecture(guest)
        if recipe.file is not None:
            return own_gnumach(folder / recipe.file, guest.arch)
        found = distributed_kernel(
            recipe,
            lambda name, suite: packaged_gnumach(name, suite, guest.arch, cache, say),
            folder,
            cache,
            say,
        )
        if isinstance(found, Kernel):
            return found
        builder = gnumach_builder(found, guest.arch, folder, cache, say)
        return built_kernel(found, builder, folder, cache, say)

    async def compile_workload(self, order: WorkloadOrder, cache: Path, say: Say) -> Path:
        """The bootstrap program with the workload in it. Raises HarnessError."""
        _require_architecture(order.guest)
        if order.in_guest:
            raise ConfigurationError("a GNU Mach guest has no compiler: compile on the host")
        return compile_bootstrap(order.source, order.guest.arch, cache, order.flags)

    def build_image(self, order: ImageOrder, cache: Path, say: Say) -> GuestImage:
        """What QEMU's multiboot loader takes: the shim, and as its modules kernel and program.

        Raises ConfigurationError where the target asks for what there is not, or the guest has too
        little memory; InfrastructureError without a compiler.
        """
        guest = order.guest
        _require_architecture(guest)
        if order.userland.modules or order.userland.image or order.userland.setup:
            raise ConfigurationError(
                "a GNU Mach guest has no modules, file systems or commands: remove [userland]"
            )
        if order.workload is None:
            raise ConfigurationError("a GNU Mach guest has nothing to run without a workload")
        require_room(order.kernel, order.workload, guest)
        shim = compile_shim(cache)
        files = (shim, order.kernel.image, order.workload)
        for file in files:
            if " " in str(file):  # QEMU takes what follows a space for the module's arguments
                raise ConfigurationError(
                    f"QEMU cannot load a multiboot module whose path has a space: {file}; set "
                    "HARNESS_CACHE to another folder"
                )
        modules = ",".join(str(file).replace(",", ",,") for file in files[1:])
        return GuestImage(
            boot=Boot(shim, modules, (*guest.boot.append, *order.append)),
            setup=(),
            workload=order.workload.name,
        )

    def workload_command(
        self, image: GuestImage, seed: int, arguments: Mapping[str, int | str]
    ) -> str:
        """`workload seed=N key=value ...`; words have no spaces in them."""
        return " ".join(["workload", f"seed={seed}", *(f"{k}={v}" for k, v in arguments.items())])

    def trial_start_command(self, seed: int) -> str:
        """Leaves a line on the console; the kernel has no randomness to seed."""
        return f"trial {seed}"

    def symbols_file(self, kernel: Kernel, cache: Path) -> Path:
        """The kernel's own ELF file."""
        return kernel.image

    async def read_symbols(self, channel: GuestChannel) -> bytes:
        """Never: the kernel's file has them. Raises GuestError."""
        raise GuestError("a GNU Mach guest does not tell symbols: its kernel's file has them")

    def kernel_text(self, kernel: Kernel, symbols: SymbolTable) -> KernelImage:
        """The text out of the kernel's ELF file. Raises ConfigurationError."""
        return KernelImage.from_elf(kernel.image.read_bytes(), kernel.label)

    def module_code(self, kernel: Kernel, module: str) -> bytes:
        """Never: nothing is loaded. Raises ConfigurationError."""
        raise ConfigurationError(f"GNU Mach guests load no modules, so there is no {module}")

    def debug_file(self, kernel: Kernel, module: str | None, cache: Path, say: Say) -> bytes:
        """The kernel's own ELF file. Raises ConfigurationError for a module."""
        if module is not None:
            return self.module_code(kernel, module)
        return kernel.image.read_bytes()


def _require_architecture(guest: GuestModel) -> None:
    if guest.arch not in ("x86_64", "i386"):
        raise ConfigurationError(f"GNU Mach runs on x86_64 and i386, not on {guest.arch}")
