# SPDX-License-Identifier: BSD-2-Clause
"""Tests of symbol tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ConfigurationError
from harness.places.symbols import Symbol, SymbolTable

KALLSYMS = b"""\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T _text
ffffffff81000100 T swap_readpage
ffffffff81000200 t helper
ffffffff81000240 t helper
ffffffff81000300 t do_sys_thing
ffffffff81000300 T __x64_sys_thing
ffffffff81000300 W weak_thing
ffffffff81000400 t merge.isra.0
ffffffff81000480 t twice.constprop.0
ffffffff810004c0 t twice.part.0
ffffffff81000500 T split
ffffffff81000580 t split.cold
ffffffff810005c0 t gone.cold
ffffffff81000600 T _etext
ffffffff82000000 D some_data
ffffffffc0000000 t zram_bvec_rw\t[zram]
ffffffffc0000100 T zram_end\t[zram]
"""


@pytest.fixture
def table() -> SymbolTable:
    return SymbolTable.from_kallsyms(KALLSYMS)


def test_kallsyms_is_read_with_its_modules(table: SymbolTable) -> None:
    assert len(table.symbols) == 18
    assert table.symbols[2] == Symbol(0xFFFFFFFF81000100, "T", "swap_readpage")
    assert table.symbols[-1] == Symbol(0xFFFFFFFFC0000100, "T", "zram_end", "zram")


def test_address_of_functions_modules_and_data(table: SymbolTable) -> None:
    assert table.address_of("swap_readpage") == 0xFFFFFFFF81000100
    assert table.address_of("zram_bvec_rw", "zram") == 0xFFFFFFFFC0000000
    assert table.address_of("some_data") == 0xFFFFFFFF82000000


def test_extent_ends_at_the_next_code_symbol_of_another_address(table: SymbolTable) -> None:
    assert table.extent("swap_readpage") == (0xFFFFFFFF81000100, 0xFFFFFFFF81000200)
    assert table.extent("do_sys_thing") == (0xFFFFFFFF81000300, 0xFFFFFFFF81000400)
    with pytest.raises(ConfigurationError, match="zram_end is the last symbol"):
        table.extent("zram_end", "zram")


def test_a_clone_stands_in_for_its_function(table: SymbolTable) -> None:
    assert table.function("merge").name == "merge.isra.0"
    with pytest.raises(ConfigurationError, match=r"2 functions .*twice\.constprop\.0 at 0x"):
        table.function("twice")


def test_cold_part_is_no_clone(table: SymbolTable) -> None:
    assert [s.name for s in table.cold_parts("split")] == ["split.cold"]
    assert table.function("split").address == 0xFFFFFFFF81000500
    with pytest.raises(ConfigurationError, match=r"only its unlikely part gone\.cold is left"):
        table.function("gone")


@pytest.mark.parametrize(
    ("name", "module", "says"),
    [
        ("helper", None, "2 functions in kallsyms have this name .*0xffffffff81000200"),
        ("swap_raedpage", None, "nearest: swap_readpage"),
        ("sys_thing", None, "nearest: .*__x64_sys_thing"),
        ("zram_bvec_rw", None, "it is elsewhere: write zram!zram_bvec_rw"),
        ("swap_readpage", "zram", "it is elsewhere: write swap_readpage"),
        ("f", "xfs", "it knows no module xfs: is it loaded"),
        ("some_data", None, "the name is data, not a function"),
    ],
)
def test_missing_function_is_explained(
    table: SymbolTable, name: str, module: str | None, says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        table.function(name, module)


def test_function_at_names_the_holder_and_prefers_the_global_name(table: SymbolTable) -> None:
    assert table.function_at(0xFFFFFFFF81000110) == ("swap_readpage", 0x10)
    assert table.function_at(0xFFFFFFFF81000301) == ("__x64_sys_thing", 1)
    assert len(table.at(0xFFFFFFFF81000300)) == 3
    with pytest.raises(ConfigurationError, match="no function holds"):
        table.function_at(0x1000)


@given(st.integers(0xFFFFFFFF81000000, 0xFFFFFFFF810005FF))
def test_every_address_is_within_the_extent_of_the_function_that_holds_it(address: int) -> None:
    table = SymbolTable.from_kallsyms(KALLSYMS)
    found = table.find(address)
    assert found is not None
    start, end = table.extent_of(found[0])
    assert start <= address < end
    assert start + found[1] == address


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no symbols in 0 bytes"),
        (b"0000000000000000 T _text\n0000000000000000 T f\n", "kptr_restrict"),
        (b"ffffffff81000000 T _text\nKernel panic\n", "kallsyms:2: expected 'address type name"),
    ],
)
def test_unusable_kallsyms_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        SymbolTable.from_kallsyms(data)


def test_mapping_symbols_are_left_out() -> None:
    table = SymbolTable.from_kallsyms(b"10 t $x\n10 t $d.5\n10 T real\n")
    assert [symbol.name for symbol in table.symbols] == ["real"]


def test_bytes_that_are_no_elf_file_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="vmlinux: not a readable ELF file"):
        SymbolTable.from_elf(b"not an ELF file", "vmlinux")
