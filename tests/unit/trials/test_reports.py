# SPDX-License-Identifier: BSD-2-Clause
"""What is kept of crash reports for people, with and without a kernel's debugging information."""

import asyncio
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from harness.crashes.stream import parse_console
from harness.kernels.kernel import Kernel
from harness.trials.debugger import Answer, Interrogation
from harness.trials.reports import write_answers, write_reports

CONSOLES = Path(__file__).parent / "consoles"


def kernel(folder: Path) -> Kernel:
    return Kernel("k", "13.2", "0" * 64, folder / "image", None)


@pytest.mark.parametrize("arch", ["amd64", "amd64-10.1", "arm64"])
def test_a_real_panic_is_kept_whole(tmp_path: Path, arch: str) -> None:
    console = (CONSOLES / f"ddb-{arch}.log").read_bytes()
    reports = parse_console(console.partition(b"\r\ndb> ")[0] + b"\r\ndb> ", "freebsd")
    asyncio.run(write_reports(tmp_path, kernel(tmp_path), reports))
    text = (tmp_path / "reports.txt").read_text()
    assert text.startswith("== panic: freeing mapped page\npanic: freeing mapped page 0x")
    assert "vm_object_collapse() at" in text
    assert "Stopped at      kdb_enter+0x" in text
    assert "\r" not in text


def test_without_reports_there_is_no_file(tmp_path: Path) -> None:
    asyncio.run(write_reports(tmp_path, kernel(tmp_path), []))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this host")
@pytest.mark.parametrize(("flag", "beside"), [("-g", True), ("-g", False), ("-g0", True)])
def test_the_kernel_s_elf_file_gives_lines(tmp_path: Path, flag: str, beside: bool) -> None:
    (tmp_path / "kern.c").write_text("int main(void)\n{\n\treturn 0;\n}\n")
    argv = ["gcc", flag, "-o", "vmlinux", "kern.c"]
    subprocess.run(argv, cwd=tmp_path, check=True, timeout=60)
    asked = Interrogation((Answer("bt", b"main() at main+0x0/frame 0xfffffe004301ab00\r\n"),))
    booted = kernel(tmp_path if beside else tmp_path / "elsewhere")
    booted = booted if beside else replace(booted, vmlinux=tmp_path / "vmlinux")
    asyncio.run(write_answers(tmp_path / "ddb.txt", booted, asked))
    where = " kern.c:2" if flag == "-g" else ""
    assert (tmp_path / "ddb.txt").read_text() == (
        f"== bt\nmain() at main+0x0/frame 0xfffffe004301ab00{where}\n"
    )
