# SPDX-License-Identifier: BSD-2-Clause
"""A trial's crash reports and its debugger's answers, with the source lines that are at hand."""

import asyncio
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from harness.console.text import printable_text
from harness.crashes import Report
from harness.errors import ConfigurationError
from harness.kernels.kernel import Kernel
from harness.symbolize import SourceLines, symbolize_lines
from harness.trials.debugger import Interrogation

_REPORTS = "reports.txt"


async def write_reports(folder: Path, kernel: Kernel, reports: Sequence[Report]) -> None:
    """Writes reports.txt: each report's title and its own lines. Nothing without reports.

    The kernel's DWARF gives file and line to every frame of a kernel that was built here; where
    the kernel knows too few names itself, the functions too.
    """
    if reports:
        text = "\n".join(f"== {report.title}\n{report.text}\n" for report in reports)
        await _write(folder / _REPORTS, kernel, printable_text(text))


async def write_answers(file: Path, kernel: Kernel, asked: Interrogation) -> None:
    """Writes what a kernel's debugger was asked and has answered, with source lines likewise."""
    await _write(file, kernel, asked.as_text())


async def _write(file: Path, kernel: Kernel, text: str) -> None:
    # beside a kernel that was built here
    vmlinux = kernel.vmlinux or kernel.image.with_name("vmlinux")
    lines: Iterable[str] = text.splitlines()
    if vmlinux.exists():
        # a whole DWARF is read: what else waits for the event loop goes on
        lines = await asyncio.to_thread(_with_sources, text, vmlinux)
    file.write_text("".join(f"{line}\n" for line in lines))


def _with_sources(text: str, vmlinux: Path) -> list[str]:
    try:
        return list(symbolize_lines(text.splitlines(), _sources(vmlinux)))
    except ConfigurationError:  # built without debugging information
        return text.splitlines()


@lru_cache(maxsize=2)
def _sources(vmlinux: Path) -> SourceLines:
    return SourceLines.open(vmlinux)
