# SPDX-License-Identifier: BSD-2-Clause
"""What the harness asks of an operating system."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.console.channel import ControlChannel
from harness.kernels.kernel import Kernel
from harness.plan.models import GuestModel
from harness.progress import Say


@dataclass(frozen=True)
class GuestImage:
    """A micro-guest's root file system and how to use it."""

    file: Path
    setup: tuple[str, ...]
    """Shell commands to run in a booted guest before it counts as ready."""
    workload: str
    """Path of the workload in the guest."""


class System(Protocol):
    """One operating system; all the harness knows of it is behind this."""

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
        """Builds the image, or finds it in the cache; `files` are added, by their absolute paths
        in the guest. Raises HarnessError."""
        ...

    def trial_start_command(self, seed: int) -> str:
        """A shell command that gives a restored guest randomness of its own and says so.

        It leaves a line on the console, so that the trial's part of it has a beginning.
        """
        ...

    async def read_symbols(self, channel: ControlChannel) -> bytes:
        """The running kernel's symbols, in the format of /proc/kallsyms."""
        ...
