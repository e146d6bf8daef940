# SPDX-License-Identifier: BSD-2-Clause
"""Tests of places in loadable modules, with object files of the host's C compiler."""

import lzma
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.errors import ConfigurationError
from harness.places.dwarf import LineTable
from harness.places.image import KernelImage, Segment
from harness.places.resolve import ResolvedPlace, resolve
from harness.places.symbols import SymbolTable
from harness.places.syntax import parse_place

pytestmark = [
    pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc to make an object file"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the host's gcc makes other code"),
]

SOURCE = """\
int printk(int n);
int zs_free(int n);
__attribute__((section(".text.hot"))) __attribute__((noinline)) static int hot(int n)
{
        return n + 1;
}
__attribute__((noinline)) static int local(int n)
{
        return hot(n) * printk(n);
}
int submit(int n)
{
        return local(n) + printk(n + 1) + zs_free(n);
}
__attribute__((section(".init.text"))) int init(void)
{
        return submit(1);
}
"""
HOT, PRINTK = 0xFFFFFFFFC0300000, 0xFFFFFFFF81000040
OTHER = 0xFFFFFFFFC0400000
KERNEL = KernelImage((Segment(0xFFFFFFFF81000000, bytes(0x40) + b"\xc3" * 0x40),), "x86_64", "vm")


@pytest.fixture(scope="module")
def ko(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("module")
    (folder / "m.c").write_text(SOURCE)
    flags = [
        "-O1",
        "-g",
        "-c",
        "-ffreestanding",
        "-fno-pic",
        "-mcmodel=kernel",
        "-fcf-protection=none",
    ]
    subprocess.run(["gcc", *flags, "m.c", "-o", "m.ko"], cwd=folder, check=True, timeout=60)
    return (folder / "m.ko").read_bytes()


@pytest.fixture
def symbols(ko: bytes) -> SymbolTable:
    """kallsyms after the module is loaded and its init section is freed."""
    sizes = {s.name: s for s in SymbolTable.from_elf(ko, "m.ko").symbols}
    text = 0xFFFFFFFFC0200000
    lines = [
        f"{PRINTK:x} T printk",
        f"{PRINTK + 0x40:x} T _etext",
        f"{text + sizes['local'].address:x} t local\t[m]",
        f"{text + sizes['submit'].address:x} T submit\t[m]",
        f"{text + sizes['submit'].address + sizes['submit'].size:x} t after\t[m]",
        f"{HOT:x} t hot\t[m]",
        # a kernel may say `t` of what another module exports
        f"{OTHER:x} t zs_free\t[other]",
        f"{OTHER + 0x100:x} r __ksymtab_zs_free\t[other]",
        f"{OTHER + 0x1000:x} t zs_free\t[third]",
    ]
    return SymbolTable.from_kallsyms("\n".join(lines).encode())


def find(text: str, image: KernelImage, symbols: SymbolTable) -> ResolvedPlace:
    return resolve(parse_place(text), arch="x86_64", symbols=symbols, image=image)


@pytest.mark.parametrize("callee", ["printk", "local", "zs_free"])
def test_calls_within_the_module_and_of_the_kernel_are_found(
    ko: bytes, symbols: SymbolTable, callee: str
) -> None:
    image = KERNEL.with_module(ko, "m", symbols)
    call = find(f"m!submit:call({callee})", image, symbols)
    after = find(f"m!submit:after({callee})", image, symbols)
    assert image.read(call.addresses[0], 1) == b"\xe8"
    assert after.addresses[0] == call.addresses[0] + 5
    assert any(line.endswith(f"<{callee}>") for line in call.disassembly)


def test_call_of_another_section_is_found(ko: bytes, symbols: SymbolTable) -> None:
    image = KERNEL.with_module(lzma.compress(ko), "m", symbols)
    assert find("m!local:after(hot)", image, symbols).function == "local"
    (returned,) = find("m!hot:return", image, symbols).addresses
    assert returned >= HOT
    assert image.read(returned, 1) == b"\xc3"


def test_without_the_file_only_entries_and_offsets_are_found(symbols: SymbolTable) -> None:
    assert find("m!hot", KERNEL, symbols).addresses == (HOT,)
    start = symbols.address_of("submit", "m")
    assert find("m!submit+1", KERNEL, symbols).addresses == (start + 1,)
    with pytest.raises(ConfigurationError, match=r"give module m's \.ko file as well"):
        find("m!hot:return", KERNEL, symbols)


def test_module_that_is_not_loaded_or_foreign_is_refused(ko: bytes, symbols: SymbolTable) -> None:
    without = SymbolTable.from_kallsyms(b"10 T printk\n20 T _etext\n")
    with pytest.raises(ConfigurationError, match=r"none of its functions is in kallsyms"):
        KERNEL.with_module(ko, "m", without)
    other = KernelImage(KERNEL.segments, "arm64", "Image")
    with pytest.raises(ConfigurationError, match="built for x86_64, the kernel for arm64"):
        other.with_module(ko, "m", symbols)
    with pytest.raises(ConfigurationError, match="not a readable ELF file"):
        KERNEL.with_module(b"", "m", symbols)


def line_of(text: str) -> int:
    return SOURCE[: SOURCE.index(text)].count("\n") + 1


def test_source_lines_are_where_the_sections_were_loaded(ko: bytes, symbols: SymbolTable) -> None:
    image = KERNEL.with_module(ko, "m", symbols)
    bases = image.modules["m"].by_index
    assert image.modules["m"].by_name[".text.hot"] == HOT
    lines = LineTable.from_module(ko, bases, "m.ko")

    def at(line: int) -> ResolvedPlace:
        place = parse_place(f"m!m.c:{line}")
        return resolve(place, arch="x86_64", symbols=symbols, image=image, dwarf=lines)

    assert at(line_of("return n + 1")).function == "hot"
    (address,) = at(line_of("return hot(n)")).addresses
    start, end = symbols.extent("local", "m")
    assert start <= address < end
    with pytest.raises(ConfigurationError, match="only initialises a module"):
        at(line_of("return submit(1)"))
    with pytest.raises(ConfigurationError, match="has no code for that line"):
        at(1)


def test_a_module_without_lines_is_refused(ko: bytes, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="its DWARF cannot be read"):
        LineTable.from_module(b"", {}, "m.ko")
    (tmp_path / "m.ko").write_bytes(ko)
    subprocess.run(["objcopy", "--strip-debug", tmp_path / "m.ko"], check=True, timeout=60)
    with pytest.raises(ConfigurationError, match="build it with -g"):
        LineTable.from_module((tmp_path / "m.ko").read_bytes(), {}, "m.ko")
