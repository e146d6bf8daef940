# SPDX-License-Identifier: BSD-2-Clause
"""Guest programs: compiled once for the same inputs, errors with the compiler's words."""

import platform
import subprocess
from pathlib import Path

import pytest
from running import PROJECT

from harness.errors import ConfigurationError, ExitCode, InfrastructureError
from harness.kernels.toolchain import CROSS_COMPILERS, WORKLOAD_BASE, compile_static

ARCH = next(name for name, cross in CROSS_COMPILERS.items() if cross.machine == platform.machine())
GOOD = '#include "own.h"\nint main(void) { return STATUS; }\n'


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "own.h").write_text("#define STATUS 42\n")
    (tmp_path / "tool.c").write_text(GOOD)
    return tmp_path / "tool.c"


def build(source: Path) -> Path:
    return compile_static(source, source.parent / "cache", ARCH, include=source.parent / "include")


def test_a_program_is_compiled_once_and_runs(source: Path) -> None:
    program = build(source)
    when = program.stat().st_mtime_ns
    assert build(source) == program
    assert program.stat().st_mtime_ns == when
    assert subprocess.run([program], check=False).returncode == 42


def test_a_changed_header_is_another_program(source: Path) -> None:
    first = build(source)
    (source.parent / "include" / "own.h").write_text("#define STATUS 43\n")
    second = build(source)
    assert first != second
    assert subprocess.run([second], check=False).returncode == 43


def test_a_program_of_several_files_is_compiled_anew_when_one_changes(source: Path) -> None:
    source.write_text("int status(void);\nint main(void) { return status(); }\n")
    part = source.with_name("part.c")
    programs = []
    for status in (44, 45):
        part.write_text(f"int status(void) {{ return {status}; }}\n")
        programs.append(compile_static(source, source.parent / "cache", ARCH, parts=[part]))
    assert [subprocess.run([p], check=False).returncode for p in programs] == [44, 45]


def test_a_wrong_source_is_told_in_the_compiler_s_words(source: Path) -> None:
    source.write_text("int main(void) { return nonsense; }\n")
    with pytest.raises(ConfigurationError, match=r"tool.c does not compile:(.|\n)*nonsense") as got:
        build(source)
    assert got.value.exit_code == ExitCode.USAGE
    assert not list((source.parent / "cache").rglob("*tool*"))


def test_no_compiler_is_told(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", str(source.parent / "no-cc"))
    with pytest.raises(InfrastructureError, match="gcc"):
        build(source)


def test_workloads_are_where_nothing_else_is(source: Path) -> None:
    program = compile_static(
        PROJECT / "workloads" / "swapin_aba.c",
        source.parent / "cache",
        ARCH,
        include=PROJECT / "workloads",
        text_base=WORKLOAD_BASE,
    )
    listing = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
    (address,) = (
        line.split()[0] for line in listing.splitlines() if line.endswith(" T round_done")
    )
    assert WORKLOAD_BASE <= int(address, 16) < WORKLOAD_BASE + (64 << 20)
