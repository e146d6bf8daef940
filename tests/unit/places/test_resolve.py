# SPDX-License-Identifier: BSD-2-Clause
"""Tests of places resolved in assembled programs of each architecture."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ConfigurationError
from harness.places.image import KernelImage, Segment
from harness.places.resolve import ResolvedPlace, resolve
from harness.places.symbols import Symbol, SymbolTable
from harness.places.syntax import parse_place

from .assembler import ARCHES, NOP, RET, TOC_SETUP, Program, assemble, call, jump, raw

every_arch = pytest.mark.parametrize("arch", ARCHES)


def find(program: Program, text: str) -> ResolvedPlace:
    return resolve(
        parse_place(text), arch=program.arch, symbols=program.symbols, image=program.image
    )


def swap(arch: str) -> Program:
    """A program like the swap-in path: one call of `read`, two of `unlock`, a cold part."""
    return assemble(
        arch,
        {
            "swapin": [
                NOP,
                call("read"),
                NOP,
                call("unlock"),
                RET,
                call("unlock"),
                jump("swapin.cold"),
            ],
            "read": [NOP, jump("submit")],
            "unlock": [NOP, RET],
            "submit": [NOP, RET, NOP, RET, jump("unlock")],
            "swapin.cold": [call("warn"), RET],
            "warn.constprop.0": [NOP, RET],
            "warn": [call("panic"), RET],
            "panic": [NOP, jump("panic")],
            "dies": [NOP, call("panic")],
            "loop": [call("read"), NOP, jump(f"loop+{call('read').size(arch)}")],
        },
        aliases={"__x64_sys_read_alias": "read"},
    )


@every_arch
def test_entry_and_offset(arch: str) -> None:
    program = swap(arch)
    assert find(program, "read").addresses == (program.at["read"][0],)
    offset = program.at["swapin"][2] - program.at["swapin"][0]
    found = find(program, f"swapin+{offset:#x}")
    assert found.addresses == (program.at["swapin"][2],)
    assert (found.function, found.offsets) == ("swapin", (offset,))
    assert found.symbol_file == "test symbols"


@every_arch
def test_after_and_call_of_the_only_call(arch: str) -> None:
    program = swap(arch)
    assert find(program, "swapin:after(read)").addresses == (program.at["swapin"][2],)
    assert find(program, "swapin:call(read)").addresses == (program.at["swapin"][1],)


@every_arch
def test_calls_are_compared_by_address_not_by_name(arch: str) -> None:
    program = swap(arch)
    found = find(program, "swapin:after(__x64_sys_read_alias)")
    assert found.addresses == (program.at["swapin"][2],)


@every_arch
def test_one_of_several_calls_must_be_picked(arch: str) -> None:
    program = swap(arch)
    with pytest.raises(ConfigurationError) as caught:
        find(program, "swapin:after(unlock)")
    first, second = (program.at["swapin"][n] - program.at["swapin"][0] for n in (3, 5))
    assert f"2 times (1: swapin+{first:#x}; 2: swapin+{second:#x})" in str(caught.value)
    assert "swapin:after(unlock, 2)" in str(caught.value)
    assert find(program, "swapin:after(unlock, 2)").addresses == (program.at["swapin"][6],)
    assert find(program, "swapin:call(unlock, 1)").addresses == (program.at["swapin"][3],)
    with pytest.raises(ConfigurationError, match="only 2 times"):
        find(program, "swapin:after(unlock, 3)")


@every_arch
def test_call_in_the_cold_part_is_found(arch: str) -> None:
    program = swap(arch)
    found = find(program, "swapin:after(warn)")
    assert found.addresses == (program.at["swapin.cold"][1],)
    assert found.function == "swapin"
    assert found.positions == (f"swapin.cold+{call('warn').size(arch):#x}",)


@every_arch
def test_clone_of_the_callee_counts_as_the_callee(arch: str) -> None:
    program = assemble(
        arch, {"f": [call("g.constprop.0"), NOP, RET], "g.constprop.0": [RET], "g": [NOP, RET]}
    )
    assert find(program, "f:after(g)").addresses == (program.at["f"][1],)


@every_arch
def test_clone_stands_in_for_the_function_and_is_named(arch: str) -> None:
    program = assemble(arch, {"f.isra.0": [NOP, RET]})
    found = find(program, "f:return")
    assert found.addresses == (program.at["f.isra.0"][1],)
    assert found.notes == ("f is there only as the compiler's clone f.isra.0",)


@every_arch
def test_every_return_is_found_and_tail_jumps_are_told(arch: str) -> None:
    program = swap(arch)
    found = find(program, "submit:return")
    assert found.addresses == (program.at["submit"][1], program.at["submit"][3])
    (note,) = found.notes
    assert note.startswith("not covered: it also leaves by tail jumps: submit+")
    assert note.endswith(" to unlock")
    assert find(program, "swapin:return").addresses == (
        program.at["swapin"][4],
        program.at["swapin.cold"][1],
    )
    assert find(program, "swapin:return").notes == ()  # a jump to its cold part stays inside


@every_arch
def test_function_without_a_return_is_refused(arch: str) -> None:
    program = swap(arch)
    with pytest.raises(ConfigurationError, match=r"ends in tail jumps \(read\+0x\d to submit\)"):
        find(program, "read:return")
    with pytest.raises(ConfigurationError, match="panic never returns"):
        find(program, "panic:return")


@every_arch
def test_tail_jump_is_no_call(arch: str) -> None:
    program = swap(arch)
    with pytest.raises(ConfigurationError, match="does not call submit but leaves by a tail jump"):
        find(program, "read:after(submit)")


@every_arch
def test_call_that_ends_the_function_has_no_after(arch: str) -> None:
    program = assemble(arch, {"f": [NOP] * 12 + [call("g")], "g": [RET]})
    end = program.at["f"][-1] + call("g").size(arch)
    sized = SymbolTable(
        (
            Symbol(program.at["f"][0], "t", "f", size=end - program.at["f"][0]),
            Symbol(program.at["g"][0], "t", "g", size=1),
        ),
        "sized",
    )
    with pytest.raises(ConfigurationError, match="g never returns"):
        resolve(parse_place("f:after(g)"), arch=arch, symbols=sized, image=program.image)


@every_arch
def test_place_that_jumps_also_come_to_says_so(arch: str) -> None:
    program = swap(arch)
    (note,) = find(program, "loop:after(read)").notes
    assert note.startswith("also reached without this call, by jumps from loop+")


@every_arch
def test_missing_callee_is_explained_with_what_is_called(arch: str) -> None:
    program = swap(arch)
    with pytest.raises(ConfigurationError) as caught:
        find(program, "swapin:after(unlocked)")
    assert "there is no function unlocked (nearest: unlock)" in str(caught.value)
    assert "swapin calls: read, unlock, warn" in str(caught.value)
    with pytest.raises(ConfigurationError, match="swapin has no direct call of submit; "):
        find(program, "swapin:after(submit)")


@every_arch
def test_missing_function_is_explained_with_the_nearest(arch: str) -> None:
    with pytest.raises(ConfigurationError, match=r"swapinn: no such function .*nearest: swapin"):
        find(swap(arch), "swapinn:return")


@every_arch
def test_offset_beyond_the_function_and_of_another_build(arch: str) -> None:
    program = swap(arch)
    with pytest.raises(ConfigurationError, match="only 0x40 bytes long"):
        find(program, "read+0x40")
    with pytest.raises(ConfigurationError, match=r"is 0x40 bytes long.* not 0x44: .*another build"):
        find(program, "read+0x4/0x44")
    assert find(program, "read+0/0x40").addresses == (program.at["read"][0],)


@every_arch
def test_offset_inside_an_instruction_is_refused(arch: str) -> None:
    program = swap(arch)
    inside = program.at["swapin"][1] - program.at["swapin"][0] + 1
    with pytest.raises(ConfigurationError, match=r"inside an instruction: .*swapin\+0x"):
        find(program, f"swapin+{inside:#x}")
    with pytest.raises(ConfigurationError, match="inside an instruction"):
        find(program, f"{program.at['swapin'][1] + 1:#x}")


@every_arch
def test_absolute_address_is_given_its_function(arch: str) -> None:
    program = swap(arch)
    found = find(program, f"{program.at['unlock'][1]:#x}")
    assert found.function == "unlock"
    assert found.offsets == (program.at["unlock"][1] - program.at["unlock"][0],)
    with pytest.raises(ConfigurationError, match="no function of test symbols holds 0x10"):
        find(program, "0x10")


@every_arch
def test_disassembly_marks_the_place_and_names_call_targets(arch: str) -> None:
    program = swap(arch)
    lines = find(program, "swapin:after(read)").disassembly
    marked = [line for line in lines if line.startswith("=>")]
    assert len(marked) == 1
    assert f"{program.at['swapin'][2]:x}" in marked[0]
    assert any(line.endswith("<read>") for line in lines)


@pytest.mark.parametrize(
    ("arch", "symbol"),
    [
        ("x86_64", "__x64_sys_personality"),
        ("i386", "__ia32_sys_personality"),
        ("i386", "sys_personality"),
        ("arm64", "__arm64_sys_personality"),
        ("ppc64le", "sys_personality"),
        ("x86_64", "__se_sys_personality"),
    ],
)
def test_system_call_is_found_by_its_architecture_s_name(arch: str, symbol: str) -> None:
    program = assemble(arch, {"other": [RET], symbol: [NOP, RET]})
    assert find(program, "syscall(personality)").function == symbol
    assert find(program, "syscall(personality):return").addresses == (program.at[symbol][1],)


def test_arm64_s_own_variant_of_a_system_call_comes_first() -> None:
    names = ["__arm64_sys_personality", "__arm64_sys_arm64_personality"]
    program = assemble("arm64", {name: [RET] for name in names})
    assert find(program, "syscall(personality)").function == names[1]


def test_missing_system_call_names_what_was_tried() -> None:
    program = assemble("x86_64", {"__x64_sys_personality": [RET]})
    with pytest.raises(ConfigurationError, match="none of __x64_sys_personalty, sys_personalty"):
        find(program, "syscall(personalty)")


def test_x86_return_thunk_is_a_return() -> None:
    program = assemble(
        "x86_64",
        {"f": [NOP, jump("__x86_return_thunk")], "__x86_return_thunk": [RET]},
    )
    found = find(program, "f:return")
    assert found.addresses == (program.at["f"][1],)
    assert found.notes == ()


def test_x86_indirect_calls_are_no_calls_of_a_function() -> None:
    call_rax = raw(b"\xff\xd0")
    program = assemble("x86_64", {"f": [call_rax, call("g"), NOP, RET], "g": [RET]})
    assert find(program, "f:after(g)").addresses == (program.at["f"][2],)


def test_ppc64le_entry_is_the_local_one() -> None:
    program = assemble(
        "ppc64le",
        {
            "f": [raw(TOC_SETUP[:4]), raw(TOC_SETUP[4:]), call("g"), NOP, RET],
            "g": [raw(TOC_SETUP[:4]), raw(TOC_SETUP[4:]), RET],
            "leaf": [RET],
        },
        entry_offset={"g": 8},
    )
    assert find(program, "f").addresses == (program.at["f"][2],)
    assert find(program, "f").offsets == (8,)
    assert find(program, "f+0").addresses == (program.at["f"][0],)
    assert find(program, "leaf").addresses == (program.at["leaf"][0],)
    found = find(program, "f:after(g)")
    assert found.addresses == (program.at["f"][3],)
    assert any(line.endswith("<g>") for line in found.disassembly)


def test_without_an_image_entries_and_offsets_are_found_still() -> None:
    program = swap("x86_64")
    symbols = program.symbols
    found = resolve(parse_place("swapin+0x1"), arch="x86_64", symbols=symbols, image=None)
    assert found.addresses == (program.at["swapin"][0] + 1,)
    assert found.disassembly == ()
    with pytest.raises(ConfigurationError, match="no kernel image"):
        resolve(parse_place("swapin:return"), arch="x86_64", symbols=symbols, image=None)
    with pytest.raises(ConfigurationError, match="local entry point"):
        resolve(parse_place("swapin"), arch="ppc64le", symbols=symbols, image=None)


def test_image_of_other_addresses_than_the_symbols_is_told() -> None:
    program = swap("x86_64")
    elsewhere = KernelImage((Segment(0x1000, b"\x90"),), "x86_64", "another image")
    with pytest.raises(ConfigurationError, match=r"another image: .*booted with nokaslr"):
        resolve(
            parse_place("swapin:return"), arch="x86_64", symbols=program.symbols, image=elsewhere
        )


def test_source_line_without_dwarf_says_what_is_needed() -> None:
    with pytest.raises(ConfigurationError, match="source lines need DWARF"):
        find(swap("x86_64"), "mm/memory.c:3421")


def test_workload_place_without_a_workload_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no workload program"):
        find(swap("x86_64"), "workload:main")


@given(
    arch=st.sampled_from(ARCHES),
    ops=st.lists(st.sampled_from(["nop", "g", "h"]), min_size=1, max_size=30),
)
def test_nth_call_of_a_function_is_the_nth_in_the_code(arch: str, ops: list[str]) -> None:
    body = [NOP if op == "nop" else call(op) for op in ops]
    program = assemble(arch, {"f": [*body, RET], "g": [RET], "h": [RET]})
    calls = [n for n, op in enumerate(ops) if op == "g"]
    for ordinal, index in enumerate(calls, start=1):
        assert find(program, f"f:call(g, {ordinal})").addresses == (program.at["f"][index],)
        assert find(program, f"f:after(g, {ordinal})").addresses == (program.at["f"][index + 1],)
    if not calls:
        with pytest.raises(ConfigurationError):
            find(program, "f:after(g)")
