# SPDX-License-Identifier: BSD-2-Clause
"""Linux as the harness drives it."""

import gzip
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from elftools.elf.elffile import ELFFile

from harness.console.guest_channel import GuestChannel
from harness.disk_tools import missing_disk_tools
from harness.errors import ConfigurationError, InfrastructureError
from harness.files import make_folder_once
from harness.kernels.acquire import acquire_kernel
from harness.kernels.apt import fetch_package, unpack
from harness.kernels.kbuild.builder import own_fragments
from harness.kernels.kernel import Kernel
from harness.kernels.packaged import DEBIAN_ARCHITECTURES
from harness.kernels.toolchain import WORKLOAD_BASE, compile_static, missing_compiler
from harness.kernels.vmlinuz import extract_vmlinux
from harness.places.image import KernelImage
from harness.places.symbols import SymbolTable
from harness.plan.guest import GuestModel
from harness.plan.kernel import KernelRecipe
from harness.plan.needs import TargetUserlandModel
from harness.plan.offer import RunOffer
from harness.progress import Say
from harness.qemu.accelerator import choose_accelerator
from harness.qemu.command import Boot
from harness.systems.base import Debugger, GuestImage, ImageOrder, WorkloadOrder
from harness.systems.filesystem_image import filesystem_image
from harness.systems.linux.debug_file import debug_file
from harness.systems.linux.full_image import full_image, with_disk_and_network
from harness.systems.linux.guest_compiler import (
    MODULES,
    CompileBoot,
    compile_in_guest,
    kept_program,
)
from harness.systems.linux.image import (
    WORKLOAD_PATH,
    Userland,
    build_initramfs,
    compile_init,
    load_commands,
)
from harness.systems.linux.modules import load_order, module_content
from harness.systems.linux.toolchain_disk import toolchain_disk
from harness.systems.machine import machine_of


def _is_linux_program(program: ELFFile) -> bool:
    return program["e_ident"]["EI_OSABI"] in ("ELFOSABI_SYSV", "ELFOSABI_LINUX")


class Linux:
    """The Linux micro-guest: initramfs, init with a control channel, busybox."""

    debugger: Debugger | None = None
    run_offer = RunOffer(runs=_is_linux_program, fragments=tuple(own_fragments()))
    # kernel/reboot.c, at the level of emergencies; old kernels without "reboot: " before it
    farewell: re.Pattern[bytes] | None = re.compile(
        rb"^(?:\[[^\]\n]*\] ?)*(?:reboot: |Power down\.|Restarting system)", re.MULTILINE
    )

    def missing_tools(self, guest: GuestModel) -> str | None:
        """A C compiler with its library, for init and workloads; a full image's disk tools."""
        if guest.is_full_image and (missing := missing_disk_tools()):
            return missing
        return missing_compiler(guest.arch)

    def acquire_kernel(
        self, recipe: KernelRecipe, guest: GuestModel, folder: Path, cache: Path, say: Say
    ) -> Kernel:
        """The distribution's package, else a kernel built from source. Raises HarnessError."""
        if guest.is_full_image:
            recipe = with_disk_and_network(recipe)
        return acquire_kernel(recipe, guest.arch, folder, cache, say)

    async def compile_workload(self, order: WorkloadOrder, cache: Path, say: Say) -> Path:
        """A static program at fixed addresses. Raises HarnessError."""
        if order.in_guest:
            return await self._compile_in_guest(order, cache, say)
        return compile_static(
            order.source,
            cache,
            order.guest.arch,
            include=order.source.parent,
            text_base=WORKLOAD_BASE,
            more=order.flags,
        )

    async def _compile_in_guest(self, order: WorkloadOrder, cache: Path, say: Say) -> Path:
        guest, compiler = order.guest, order.guest.compiler
        if compiler is None or guest.kernel is None:
            raise ConfigurationError(
                "this guest has no compiler of its own ([userland.compiler] of its config): "
                "compile on the host, with --compile host"
            )
        try:
            disk = toolchain_disk(compiler, guest.arch, cache, say)
        except InfrastructureError as error:
            raise InfrastructureError(
                f"the guest's compiler cannot be had: {error}; --compile host compiles on the host"
            ) from error
        if (program := kept_program(order, disk, cache)).exists():
            return program
        recipe = KernelRecipe(package=guest.kernel.package, suite=guest.kernel.suite)
        kernel = self.acquire_kernel(recipe, guest, order.source.parent, cache, say)
        disks = TargetUserlandModel(modules=list(MODULES))
        image = self.build_image(ImageOrder(guest, kernel, disks), cache, say)
        model = guest.machine
        accelerator = choose_accelerator(model.accelerator, model.qemu, say)
        boot = CompileBoot(machine_of(model, accelerator), image, guest.boot.seconds)
        return await compile_in_guest(order, disk, boot, cache, say)

    def build_image(self, order: ImageOrder, cache: Path, say: Say) -> GuestImage:
        """Builds the initramfs, or finds it in the cache. Raises HarnessError."""
        guest, kernel, modules = order.guest, order.kernel, order.userland.modules
        if modules and kernel.modules is None:
            raise ConfigurationError(
                f"the target needs the modules {', '.join(modules)}, but {kernel.label} came "
                "without modules; build them in"
            )
        loaded = load_order(kernel.modules, modules) if kernel.modules is not None else []
        userland = Userland(
            init=compile_init(guest.arch, cache),
            busybox=_busybox(guest, cache, say),
            workload=order.workload,
            modules=tuple(loaded),
            files=tuple(
                (f"/images/{image.name}.gz", filesystem_image(image, cache, say))
                for image in order.userland.image
            ),
        )
        if guest.is_full_image:
            return full_image(order, userland, cache, say)
        return GuestImage(
            boot=Boot(
                kernel.image,
                build_initramfs(userland, cache),
                (*guest.boot.append, *order.append),
            ),
            setup=(*load_commands(userland), *order.userland.setup),
            workload=WORKLOAD_PATH,
        )

    def workload_command(
        self, image: GuestImage, seed: int, arguments: Mapping[str, int | str]
    ) -> str:
        """The program with its arguments as `key=value`, in place of the shell."""
        words = [image.workload, f"seed={seed}", *(f"{k}={v}" for k, v in arguments.items())]
        return "exec " + shlex.join(words)

    def trial_start_command(self, seed: int) -> str:
        """Mixes the seed into the kernel's entropy pool (random(4)); says so in its log."""
        return f"echo {seed} > /dev/urandom; echo '<1>harness: trial, seed {seed}' > /dev/kmsg"

    async def read_symbols(self, channel: GuestChannel) -> bytes:
        """/proc/kallsyms, compressed on its way: a serial port is slow."""
        await channel.check("gzip -c /proc/kallsyms > /tmp/kallsyms.gz")
        return gzip.decompress(await channel.get("/tmp/kallsyms.gz"))

    def symbols_file(self, kernel: Kernel, cache: Path) -> Path:
        """The kernel's kallsyms in the cache, once they were read."""
        return cache / "symbols" / f"{kernel.release}-{kernel.identity[:16]}.kallsyms"

    def kernel_text(self, kernel: Kernel, symbols: SymbolTable) -> KernelImage:
        """The text out of the bootable image. Raises ConfigurationError."""
        image = extract_vmlinux(kernel.image.read_bytes())
        return KernelImage.from_file_bytes(image, symbols, kernel.label)

    def module_code(self, kernel: Kernel, module: str) -> bytes:
        """Its .ko file, uncompressed. Raises ConfigurationError."""
        if kernel.modules is None:
            raise ConfigurationError(f"{kernel.label} came without modules")
        return module_content(kernel.modules, module)

    def debug_file(self, kernel: Kernel, module: str | None, cache: Path, say: Say) -> bytes:
        """The kernel's vmlinux, or what the package NAME-dbg has. Raises HarnessError."""
        return debug_file(kernel, module, cache, say)


def _busybox(guest: GuestModel, cache: Path, say: Say) -> Path:
    assert guest.userland is not None  # GuestModel sees to it
    wanted = guest.userland.busybox
    architecture = DEBIAN_ARCHITECTURES[guest.arch]
    package = fetch_package(wanted.package, wanted.suite, architecture, cache, say)
    folder = cache / "unpacked" / f"{package.name}-{package.sha256[:16]}"
    make_folder_once(folder, lambda into: unpack(package, into))
    for path in (folder / "bin/busybox", folder / "usr/bin/busybox"):
        if path.exists():
            return path
    raise ConfigurationError(f"the package {package.identity} holds no busybox")
