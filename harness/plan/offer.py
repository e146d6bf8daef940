# SPDX-License-Identifier: BSD-2-Clause
"""What guests of one operating system have for `harness run`, and what they have not."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from elftools.elf.elffile import ELFFile


def _any_program(program: ELFFile) -> bool:
    return True


@dataclass(frozen=True)
class RunOffer:
    """The defaults are what a guest with a shell has, that starts a kernel with an initramfs."""

    title: str = "Linux"
    """The system's name for people."""
    kernel: str = "bzImage, Image or vmlinux"
    """What `--kernel` takes."""
    without: Mapping[str, str] = field(default_factory=dict)
    """Options that such guests have no use for, each with the reason; it may say what to do."""
    header: str = "harness_workload.h"
    """What a C file includes that speaks the harness's protocol."""
    plain: bool = True
    """Whether a guest runs programs and commands of any kind; else only what has the header."""
    runs: Callable[[ELFFile], bool] = _any_program
    """Whether a static program is one of this system's."""
    config: tuple[str, ...] = ()
    """Fragments beside the builder's base that a kernel of `--source` is configured with."""
    fragments: tuple[str, ...] = ()
    """Fragments of the harness's own that `--config` may name."""
