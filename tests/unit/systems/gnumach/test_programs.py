# SPDX-License-Identifier: BSD-2-Clause
"""Shim, bootstrap program and the text functions of the freestanding library."""

import io
import shutil
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from harness.errors import ConfigurationError
from harness.kernels.toolchain import WORKLOAD_BASE
from harness.systems.gnumach.program import (
    SHIM_BASE,
    SOURCES,
    compile_bootstrap,
    compile_shim,
)

STORM = Path(__file__).resolve().parents[4] / "workloads/mach_port_names_storm.c"
MULTIBOOT_MAGIC = (0x1BADB002).to_bytes(4, "little")

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler (cc)")


def test_the_shim_is_what_a_multiboot_loader_loads(tmp_path: Path) -> None:
    data = compile_shim(tmp_path).read_bytes()
    at = data.index(MULTIBOOT_MAGIC)
    # Multiboot Specification 0.6.96, 3.1.1: in the first 8 KiB, aligned, and its sum is 0
    assert at < 8192
    assert at % 4 == 0
    words = [int.from_bytes(data[at + n : at + n + 4], "little") for n in (0, 4, 8)]
    assert sum(words) % 2**32 == 0
    elf = ELFFile(io.BytesIO(data))
    (segment,) = elf.iter_segments("PT_LOAD")
    assert elf["e_machine"] == "EM_386"
    assert segment["p_paddr"] == SHIM_BASE


@pytest.mark.parametrize(("arch", "machine"), [("x86_64", "EM_X86_64"), ("i386", "EM_386")])
def test_the_workload_is_linked_in_with_its_places(tmp_path: Path, arch: str, machine: str) -> None:
    program = compile_bootstrap(STORM, arch, tmp_path)
    elf = ELFFile(io.BytesIO(program.read_bytes()))
    symbols = {s.name: s["st_value"] for s in elf.get_section_by_name(".symtab").iter_symbols()}
    assert elf["e_machine"] == machine
    assert symbols["_start"] == elf["e_entry"]
    assert symbols["call_begins"] >= WORKLOAD_BASE
    assert not [s for s in elf.iter_segments() if s["p_type"] in ("PT_INTERP", "PT_DYNAMIC")]


def test_a_program_is_made_once_and_anew_when_its_workload_changes(tmp_path: Path) -> None:
    workload = tmp_path / "one.c"
    text = '#include "mach.h"\nconst char workload_name[] = "one";\n'
    workload.write_text(text + "int workload_main(int c, char **v) { return c + !v; }\n")
    first = compile_bootstrap(workload, "x86_64", tmp_path)
    made = first.stat().st_mtime_ns
    assert compile_bootstrap(workload, "x86_64", tmp_path).stat().st_mtime_ns == made
    workload.write_text(text + "int workload_main(int c, char **v) { return c - !v; }\n")
    assert compile_bootstrap(workload, "x86_64", tmp_path) != first


def test_a_wrong_workload_is_told_with_the_compilers_words(tmp_path: Path) -> None:
    workload = tmp_path / "wrong.c"
    workload.write_text('#include "mach.h"\nint workload_main(int c, char **v) { return d; }\n')
    with pytest.raises(ConfigurationError, match=r"(?s)wrong\.c does not compile.*d. undeclared"):
        compile_bootstrap(workload, "x86_64", tmp_path)
    assert not list((tmp_path / "programs").glob(".*"))


CALLS = """
#include <stdio.h>
int format(char *into, unsigned long room, const char *how, ...);
int same(const char *, const char *);
int main(void)
{
	char line[80], small[5];
	format(line, sizeof line, "%s|%c|%d|%5d|%u|%lu|%ld", "ab", 'c', -12, -7, 4000000000u,
		18446744073709551615ul, -9223372036854775807l - 1);
	puts(line);
	format(line, sizeof line, "%x|%08lx|%%|%06ld|%3u", 0xbeefu, 0xabcdeful, 42l, 7u);
	puts(line);
	printf("%d %s\\n", format(small, sizeof small, "%s", "too long"), small);
	printf("%d%d%d\\n", same("ab", "ab"), same("ab", "abc"), same("", "a"));
	return 0;
}
"""


def test_formatting(tmp_path: Path) -> None:
    main = tmp_path / "main.c"
    main.write_text(CALLS)
    program = tmp_path / "program"
    subprocess.run(
        ["cc", "-w", "-fno-builtin", "-o", program, main, SOURCES / "text.c"], check=True
    )
    out = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    assert out.splitlines() == [
        "ab|c|-12|   -7|4000000000|18446744073709551615|-9223372036854775808",
        "beef|00abcdef|%|000042|  7",
        "4 too ",
        "100",
    ]
