# SPDX-License-Identifier: BSD-2-Clause
"""Linux as the harness drives it."""

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.console.channel import ControlChannel
from harness.errors import ConfigurationError
from harness.files import make_folder_once
from harness.kernels.apt import fetch_package, unpack
from harness.kernels.kernel import Kernel
from harness.kernels.packaged import DEBIAN_ARCHITECTURES
from harness.kernels.toolchain import compile_static
from harness.plan.models import GuestModel
from harness.progress import Say
from harness.systems.base import GuestImage
from harness.systems.linux.image import (
    INIT_SOURCE,
    WORKLOAD_PATH,
    Userland,
    build_initramfs,
    load_commands,
)
from harness.systems.linux.modules import load_order


class Linux:
    """The Linux micro-guest: initramfs, init with a control channel, busybox."""

    def build_image(
        self,
        guest: GuestModel,
        kernel: Kernel,
        modules: Sequence[str],
        files: Mapping[str, bytes],
        workload: Path | None,
        cache: Path,
        say: Say,
    ) -> GuestImage:
        """Builds the initramfs, or finds it in the cache; `files` are added, by their absolute
        paths in the guest. Raises HarnessError."""
        if modules and kernel.modules is None:
            raise ConfigurationError(
                f"the target needs the modules {', '.join(modules)}, but {kernel.label} came "
                "without modules; build them in"
            )
        loaded = load_order(kernel.modules, modules) if kernel.modules is not None else []
        userland = Userland(
            init=compile_static(INIT_SOURCE, cache, guest.arch),
            busybox=_busybox(guest, cache, say),
            workload=workload,
            modules=tuple(loaded),
            files=tuple(files.items()),
        )
        return GuestImage(
            file=build_initramfs(userland, cache),
            setup=tuple(load_commands(userland)),
            workload=WORKLOAD_PATH,
        )

    def trial_start_command(self, seed: int) -> str:
        """Mixes the seed into the kernel's entropy pool (random(4)); says so in its log."""
        return f"echo {seed} > /dev/urandom; echo '<1>harness: trial, seed {seed}' > /dev/kmsg"

    async def read_symbols(self, channel: ControlChannel) -> bytes:
        """/proc/kallsyms, compressed on its way: a serial port is slow."""
        await channel.check("gzip -c /proc/kallsyms > /tmp/kallsyms.gz")
        return gzip.decompress(await channel.get("/tmp/kallsyms.gz"))


def _busybox(guest: GuestModel, cache: Path, say: Say) -> Path:
    wanted = guest.userland.busybox
    architecture = DEBIAN_ARCHITECTURES[guest.arch]
    package = fetch_package(wanted.package, wanted.suite, architecture, cache, say)
    folder = cache / "unpacked" / f"{package.name}-{package.sha256[:16]}"
    make_folder_once(folder, lambda into: unpack(package, into))
    for path in (folder / "bin/busybox", folder / "usr/bin/busybox"):
        if path.exists():
            return path
    raise ConfigurationError(f"the package {package.identity} holds no busybox")
