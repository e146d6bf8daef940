# SPDX-License-Identifier: BSD-2-Clause
"""Workloads compiled in a guest: the program, the compiler's words, what it costs twice."""

import asyncio
import subprocess
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from running import PROJECT

from harness.errors import ConfigurationError, ExitCode
from harness.kernels.packaged import DEBIAN_ARCHITECTURES
from harness.kernels.toolchain import WORKLOAD_BASE, missing_compiler
from harness.paths import cache_folder
from harness.plan.load import load_guest
from harness.qemu.process import require_qemu
from harness.systems.base import WorkloadOrder
from harness.systems.linux.system import Linux

pytestmark = [pytest.mark.guest, pytest.mark.timeout(900)]

OTHERS = [
    pytest.param("linux-arm64", marks=pytest.mark.slow),
    pytest.param("linux-ppc64le", marks=pytest.mark.slow),
]


@dataclass
class Compiled:
    """Compiles one source as often as asked; remembers what was said."""

    guest: str
    source: Path
    flags: tuple[str, ...] = ()
    said: list[str] = field(default_factory=list)

    def program(self, where: str = "guest") -> Path:
        guest = load_guest(PROJECT, self.guest).model
        order = WorkloadOrder(self.source, guest, where == "guest", self.flags)
        return asyncio.run(Linux().compile_workload(order, cache_folder(), self.said.append))


def unique(folder: Path, text: str) -> Path:
    """A source that no cache has, with a header beside it."""
    (folder / "own.h").write_text("#define STATUS 42\n")
    source = folder / "tool.c"
    source.write_text(f'#include "own.h"\nconst char unique[] = "{uuid.uuid4()}";\n{text}')
    return source


@pytest.mark.parametrize("guest", ["linux-x86_64", *OTHERS])
def test_the_guest_compiles_it_once(guest: str, tmp_path: Path) -> None:
    model = load_guest(PROJECT, guest).model
    require_qemu(model.machine.qemu)
    if missing := missing_compiler(model.arch):  # for init
        pytest.skip(missing)
    place = '__attribute__((noinline)) void here(void) { __asm__ volatile(""); }\n'
    main = "int main(void) { here(); return sizeof(long) == 8 ? STATUS + EXTRA : 1; }\n"
    compiled = Compiled(guest, unique(tmp_path, place + main), ("-DEXTRA=1",))
    program = compiled.program()
    try:
        assert any("compiling tool.c in a guest" in line for line in compiled.said)
        with program.open("rb") as file:
            elf = ELFFile(file)
            machine = {"amd64": "EM_X86_64", "arm64": "EM_AARCH64", "ppc64el": "EM_PPC64"}
            assert elf["e_machine"] == machine[DEBIAN_ARCHITECTURES[model.arch]]
            assert elf["e_type"] == "ET_EXEC"
            assert not any(s["p_type"] == "PT_INTERP" for s in elf.iter_segments())
            (here,) = elf.get_section_by_name(".symtab").get_symbol_by_name("here")
            assert WORKLOAD_BASE <= here["st_value"] < WORKLOAD_BASE + (64 << 20)
            assert elf.has_dwarf_info()
        if model.arch == "x86_64":
            assert subprocess.run([program], check=False).returncode == 43
        compiled.said.clear()
        assert compiled.program() == program
        assert compiled.said == []
        assert compiled.program("host") != program
    finally:
        program.unlink()


def test_a_wrong_source_is_told_in_the_compiler_s_words(tmp_path: Path) -> None:
    source = unique(tmp_path, "int main(void)\n{\n\treturn nonsense;\n}\n")
    with pytest.raises(ConfigurationError) as got:
        Compiled("linux-x86_64", source).program()
    assert f"{source} does not compile" in str(got.value)
    assert f"{source}:5:16: error:" in str(got.value)
    assert got.value.exit_code == ExitCode.USAGE


def test_a_program_that_does_not_fit_is_told(tmp_path: Path) -> None:
    source = unique(tmp_path, "char big[70 << 20] = { 1 };\nint main(void) { return big[9]; }\n")
    with pytest.raises(ConfigurationError, match=r"the program has 7\d MiB.*--compile host"):
        Compiled("linux-x86_64", source).program()
