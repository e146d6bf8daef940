# SPDX-License-Identifier: BSD-2-Clause
"""What the harness asks of an operating system."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.console.guest_channel import GuestChannel
from harness.console.ssh import Login
from harness.kernels.kernel import Kernel
from harness.places.image import KernelImage
from harness.places.symbols import SymbolTable
from harness.plan.guest import GuestModel
from harness.plan.kernel import KernelRecipe
from harness.plan.needs import TargetUserlandModel
from harness.plan.offer import RunOffer
from harness.progress import Say
from harness.qemu.command import Boot


@dataclass(frozen=True)
class ImageOrder:
    """What a guest image is made from."""

    guest: GuestModel
    kernel: Kernel
    userland: TargetUserlandModel
    workload: Path | None = None
    append: tuple[str, ...] = ()
    """Words for the kernel's command line beside those of the guest config."""


@dataclass(frozen=True)
class WorkloadOrder:
    """A C file to be compiled for a guest; its headers are beside it."""

    source: Path
    guest: GuestModel
    in_guest: bool = False
    """Compile in a guest, by the compiler that the guest config names; else on the host."""
    flags: tuple[str, ...] = ()
    """Flags for the compiler beside those that every workload gets."""
    kernel: Callable[[], Kernel] | None = None
    """What a guest that compiles is booted with, where its config names no kernel; asked for only
    then."""


@dataclass(frozen=True)
class GuestImage:
    """Something bootable and how to use it."""

    boot: Boot
    setup: tuple[str, ...]
    """Commands to run in a booted guest before it counts as ready, the target's own after them."""
    workload: str
    """What the workload is called in the guest."""
    login: Login | None = None
    """How to log in to a guest that is driven over SSH."""
    shell: str = "exec sh -i"
    """What serves a person's prompt."""


@dataclass(frozen=True)
class Debugger:
    """A kernel's own debugger, which is talked to on the console as a person would."""

    name: str
    """Of the file that its answers are kept in, too."""
    setup: tuple[str, ...]
    """Commands for a ready guest, after which a crash ends at the debugger's prompt."""
    break_in: bytes
    """What is typed to stop a kernel that runs."""
    prompt: re.Pattern[bytes]
    """Where what the console has printed ends with the prompt, and waits for a command."""
    pager: re.Pattern[bytes]
    """Where it ends because the debugger waits for leave to print more."""
    go_on: bytes
    """What gives that leave."""
    first: tuple[str, ...]
    """Commands before those that are asked for, whose answers are of no interest."""
    longest_command: int
    """Bytes of a command that the debugger takes."""


class System(Protocol):
    """One operating system; all the harness knows of it is behind this."""

    farewell: re.Pattern[bytes] | None
    """Where the console tells that the system powers off or restarts on its own account.

    None for a system that no initramfs of the user's own is booted with.
    """

    debugger: Debugger | None
    """What can be asked on the console after a crash; None: nothing."""

    run_offer: RunOffer
    """What `harness run` can do with its guests."""

    def missing_tools(self, guest: GuestModel) -> str | None:
        """What this host lacks to make and boot such a guest, and how to install it; None: nothing.

        QEMU itself is not looked for, nor what only some kernels from source need.
        """
        ...

    def acquire_kernel(
        self, recipe: KernelRecipe, guest: GuestModel, folder: Path, cache: Path, say: Say
    ) -> Kernel:
        """The kernel of a recipe; `folder` has the recipe's files. Raises HarnessError."""
        ...

    async def compile_workload(self, order: WorkloadOrder, cache: Path, say: Say) -> Path:
        """The program made from one C file, an ELF file whose symbols are places.

        `in_guest` is asked for only where the guest config has [userland] compiler. Raises
        ConfigurationError with the compiler's own message, HarnessError.
        """
        ...

    def build_image(self, order: ImageOrder, cache: Path, say: Say) -> GuestImage:
        """Builds the image, or finds it in the cache. Raises HarnessError."""
        ...

    def workload_command(
        self, image: GuestImage, seed: int, arguments: Mapping[str, int | str]
    ) -> str:
        """The command that starts the workload in a ready guest."""
        ...

    def trial_start_command(self, seed: int) -> str:
        """A command that gives a restored guest randomness of its own and says so.

        It leaves a line on the console, so that the trial's part of it has a beginning.
        """
        ...

    def symbols_file(self, kernel: Kernel, cache: Path) -> Path:
        """Where the kernel's symbols are, in a format that `SymbolTable.read` knows.

        They may have to be read out of a booted guest first (`read_symbols`).
        """
        ...

    async def read_symbols(self, channel: GuestChannel) -> bytes:
        """The running kernel's symbols, those of its modules too, for `symbols_file`.

        Raises GuestError, also where the system cannot say.
        """
        ...

    def kernel_text(self, kernel: Kernel, symbols: SymbolTable) -> KernelImage:
        """The kernel's code by virtual address. Raises ConfigurationError."""
        ...

    def module_code(self, kernel: Kernel, module: str) -> bytes:
        """The ELF file of a loadable module. Raises ConfigurationError where there is none."""
        ...

    def debug_file(self, kernel: Kernel, module: str | None, cache: Path, say: Say) -> bytes:
        """An ELF file with the DWARF of the kernel or of one of its modules, where it has any.

        Raises HarnessError.
        """
        ...
