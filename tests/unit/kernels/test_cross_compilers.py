# SPDX-License-Identifier: BSD-2-Clause
"""Guest programs for other architectures: the right compiler, or what to install."""

import platform
from pathlib import Path
from typing import get_args

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from running import PROJECT

from harness.errors import InfrastructureError
from harness.kernels import toolchain
from harness.kernels.toolchain import (
    CROSS_COMPILERS,
    WORKLOAD_BASE,
    compile_static,
    compiler_for,
    missing_compiler,
)
from harness.plan.model import Arch

FOREIGN = [arch for arch, cross in CROSS_COMPILERS.items() if cross.machine != platform.machine()]
ELF_MACHINES = {"arm64": "EM_AARCH64", "ppc64le": "EM_PPC64"}


@pytest.fixture
def bare_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with no compiler; the folder is its only one."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    toolchain._has_library.cache_clear()
    return programs


def fake_compiler(folder: Path, name: str, library: str) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\necho {library}\n")
    program.chmod(0o755)


def test_every_architecture_has_a_compiler() -> None:
    assert set(CROSS_COMPILERS) == set(get_args(Arch))


def test_the_host_s_own_compiler_is_cc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.delenv("CC", raising=False)
    assert compiler_for("arm64") == "cc"
    assert compiler_for("x86_64") == "x86_64-linux-gnu-gcc"
    monkeypatch.setenv("CC", "clang")
    assert compiler_for("arm64") == "clang"
    assert compiler_for("ppc64le") == "powerpc64le-linux-gnu-gcc", "CC is the host's"


@pytest.mark.parametrize("arch", FOREIGN)
def test_a_missing_compiler_names_its_packages(arch: str, bare_path: Path, tmp_path: Path) -> None:
    source = tmp_path / "x.c"
    source.write_text("int main(void) { return 0; }\n")
    with pytest.raises(InfrastructureError) as got:
        compile_static(source, tmp_path / "cache", arch)
    for package in CROSS_COMPILERS[arch].packages:
        assert package in str(got.value)


@pytest.mark.parametrize("arch", FOREIGN)
def test_a_compiler_without_a_c_library_will_not_do(arch: str, bare_path: Path) -> None:
    fake_compiler(bare_path, CROSS_COMPILERS[arch].program, "libc.a")
    assert CROSS_COMPILERS[arch].packages[1] in (missing_compiler(arch) or "")


@pytest.mark.parametrize("arch", FOREIGN)
def test_compiler_and_library_are_enough(arch: str, bare_path: Path) -> None:
    fake_compiler(bare_path, CROSS_COMPILERS[arch].program, "/usr/lib/libc.a")
    assert missing_compiler(arch) is None


@pytest.mark.parametrize("arch", sorted(ELF_MACHINES))
def test_workloads_are_cross_compiled(arch: str, tmp_path: Path) -> None:
    if missing := missing_compiler(arch):
        pytest.skip(missing)
    program = compile_static(
        PROJECT / "workloads" / "torn_read.c",
        tmp_path,
        arch,
        include=PROJECT / "workloads",
        text_base=WORKLOAD_BASE,
    )
    with program.open("rb") as file:
        elf = ELFFile(file)
        assert elf["e_machine"] == ELF_MACHINES[arch]
        assert elf["e_type"] == "ET_EXEC"
        symbols = elf.get_section_by_name(".symtab")
        assert isinstance(symbols, SymbolTableSection)
        (place,) = symbols.get_symbol_by_name("write_done") or ()
    assert WORKLOAD_BASE <= place["st_value"] < WORKLOAD_BASE + (64 << 20)
