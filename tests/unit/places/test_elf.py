# SPDX-License-Identifier: BSD-2-Clause
"""Tests of places in real ELF files, made by the host's C compiler."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.errors import ConfigurationError
from harness.places.dwarf import LineTable
from harness.places.image import KernelImage
from harness.places.resolve import ResolvedPlace, resolve
from harness.places.show import render
from harness.places.symbols import SymbolTable
from harness.places.syntax import parse_place

pytestmark = [
    pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc to make ELF files"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the host's gcc makes other code"),
]

SOURCE = """\
volatile int counter;
__attribute__((noinline)) void stage(int n)
{
        counter += n;
}
static inline __attribute__((always_inline)) void twice(void)
{
        counter *= 2;
}
__attribute__((noinline)) int swapin(int n)
{
        stage(n);
        counter ^= 5;
        twice();
        return counter;
}
void outer(void)
{
        twice();
}
void _start(void)
{
        swapin(3);
        outer();
        for (;;)
                ;
}
"""
LINE = {text.strip(): n for n, text in enumerate(SOURCE.splitlines(), start=1)}
XOR_LINE = LINE["counter ^= 5;"]
TWICE_LINE = LINE["counter *= 2;"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("elf")
    (folder / "mm").mkdir()
    (folder / "mm" / "swap.c").write_text(SOURCE)
    return folder


def build(folder: Path, *flags: str) -> bytes:
    output = folder / "program"
    command = ["gcc", "-O1", "-nostdlib", "-ffreestanding", "-fno-inline-small-functions"]
    command += ["-fcf-protection=none", "-o", str(output), *flags, "mm/swap.c"]
    subprocess.run(command, cwd=folder, check=True, timeout=60)
    return output.read_bytes()


@pytest.fixture(scope="module", params=["-gdwarf-4", "-gdwarf-5"])
def program(folder: Path, request: pytest.FixtureRequest) -> bytes:
    return build(folder, "-static", "-no-pie", request.param)


def find(program: bytes, text: str) -> ResolvedPlace:
    return resolve(
        parse_place(text),
        arch="x86_64",
        symbols=SymbolTable.from_elf(program, "vmlinux"),
        image=KernelImage.from_elf(program, "vmlinux"),
        dwarf=LineTable.from_elf(program, "vmlinux.debug"),
    )


def test_symbols_have_sizes_and_no_padding(program: bytes) -> None:
    table = SymbolTable.from_elf(program, "vmlinux")
    start, end = table.extent("swapin")
    (symbol,) = table.functions("swapin")
    assert end - start == symbol.size > 0
    assert (symbol.kind, symbol.module) == ("T", None)
    assert table.function_at(end - 1) == ("swapin", symbol.size - 1)


def test_call_and_return_in_compiled_code(program: bytes) -> None:
    call, after = find(program, "swapin:call(stage)"), find(program, "swapin:after(stage)")
    assert after.addresses[0] == call.addresses[0] + 5
    assert KernelImage.from_elf(program).read(call.addresses[0], 1) == b"\xe8"
    (returned,) = find(program, "swapin:return").addresses
    assert KernelImage.from_elf(program).read(returned, 1) == b"\xc3"


def test_source_line_begins_after_the_call_before_it(program: bytes) -> None:
    found = find(program, f"swap.c:{XOR_LINE}")
    assert found.function == "swapin"
    assert found.addresses[0] >= find(program, "swapin:after(stage)").addresses[0]
    assert found.addresses == find(program, f"mm/swap.c:{XOR_LINE}").addresses


def test_line_of_an_inlined_function_is_found_in_each_function(program: bytes) -> None:
    found = find(program, f"swap.c:{TWICE_LINE}")
    table = SymbolTable.from_elf(program)
    assert {table.function_at(a)[0] for a in found.addresses} == {"swapin", "outer"}
    assert found.notes[-1] == "the line is in 2 functions: swapin, outer"
    assert sum(line.startswith("=>") for line in found.disassembly) == 2


def test_inlined_function_is_told_with_where_it_went(program: bytes) -> None:
    with pytest.raises(ConfigurationError, match=r"vmlinux\.debug says it is inlined in .*swapin"):
        find(program, "twice")
    with pytest.raises(ConfigurationError, match=r"is inlined in .*outer.*; swapin calls: stage"):
        find(program, "swapin:after(twice)")


def test_line_of_an_included_file_is_not_taken_for_the_file_s_own(folder: Path) -> None:
    (folder / "header.h").write_text(
        "static inline __attribute__((always_inline)) int add(int n)\n{\n        return n + 1;\n}\n"
    )
    (folder / "user.c").write_text(
        '#include "header.h"\nvolatile int x;\nvoid user(void)\n{\n        x = add(x);\n}\n'
    )
    program = build(folder, "-static", "-no-pie", "-g", "user.c")
    table = SymbolTable.from_elf(program)
    assert table.function_at(find(program, "header.h:3").addresses[0])[0] == "user"
    assert find(program, "user.c:5").function == "user"
    with pytest.raises(ConfigurationError, match="no code for that line"):
        find(program, "user.c:2")


def test_line_without_code_names_its_neighbours(program: bytes) -> None:
    with pytest.raises(ConfigurationError, match=r"nearest lines with code: [23], 4"):
        find(program, "swap.c:1")
    with pytest.raises(ConfigurationError, match=r"no code comes from a file swop\.c"):
        find(program, "swop.c:1")


def test_two_files_of_one_name_need_more_of_the_path(folder: Path) -> None:
    (folder / "fs").mkdir(exist_ok=True)
    (folder / "fs" / "swap.c").write_text("int other(int n)\n{\n        return n + 1;\n}\n")
    program = build(folder, "-static", "-no-pie", "-g", "fs/swap.c")
    with pytest.raises(ConfigurationError, match=r"2 files are called swap\.c: .*fs/swap\.c"):
        find(program, "swap.c:3")
    assert find(program, "fs/swap.c:3").function == "other"


def test_stripped_file_is_refused(folder: Path) -> None:
    program = build(folder, "-static", "-no-pie", "-s")
    with pytest.raises(ConfigurationError, match="vmlinux: the ELF file has no symbols"):
        SymbolTable.from_elf(program, "vmlinux")
    with pytest.raises(ConfigurationError, match="no DWARF line information"):
        LineTable.from_elf(program, "vmlinux")


def test_place_in_the_workload(program: bytes) -> None:
    kernel = SymbolTable.from_kallsyms(b"10 T swapin\n20 T _etext\n")
    found = resolve(
        parse_place("workload:swapin:after(stage)"),
        arch="x86_64",
        symbols=kernel,
        image=None,
        workload_elf=program,
    )
    assert found.addresses == find(program, "swapin:after(stage)").addresses
    assert found.symbol_file == "the workload"
    line = resolve(
        parse_place(f"workload:swap.c:{XOR_LINE}"),
        arch="x86_64",
        symbols=kernel,
        image=None,
        workload_elf=program,
    )
    assert line.addresses == find(program, f"swap.c:{XOR_LINE}").addresses


def test_workload_that_moves_or_is_foreign_is_refused(folder: Path, program: bytes) -> None:
    kernel = SymbolTable.from_kallsyms(b"10 T f\n20 T _etext\n")
    moving = build(folder, "-static-pie", "-fPIE")
    with pytest.raises(ConfigurationError, match="build it with -static -no-pie"):
        resolve(
            parse_place("workload:swapin"),
            arch="x86_64",
            symbols=kernel,
            image=None,
            workload_elf=moving,
        )
    with pytest.raises(ConfigurationError, match="built for x86_64, the guest is arm64"):
        resolve(
            parse_place("workload:swapin"),
            arch="arm64",
            symbols=kernel,
            image=None,
            workload_elf=program,
        )


def test_shown_place_has_address_function_and_code(program: bytes) -> None:
    found = find(program, "swapin:after(stage)")
    lines = render(found, "read-done").splitlines()
    assert lines[0] == "read-done: swapin:after(stage)  (symbols: vmlinux)"
    assert lines[1] == f"  {found.addresses[0]:#018x}  swapin+{found.offsets[0]:#x}"
    assert sum(line.startswith("    => ") for line in lines) == 1
    assert any(line.endswith("<stage>") for line in lines)
