# SPDX-License-Identifier: BSD-2-Clause
"""Tests of the language of places."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ConfigurationError
from harness.places.syntax import (
    AddressPlace,
    After,
    Call,
    Entry,
    FunctionPlace,
    LinePlace,
    Offset,
    Place,
    Position,
    Return,
    parse_place,
)

symbols = st.from_regex(
    r"[A-Za-z_][A-Za-z0-9_]{0,20}(\.(isra|part|constprop)\.[0-9])?", fullmatch=True
)
files = st.from_regex(r"([a-z0-9_-]{1,8}/){0,3}[a-z][a-z0-9_-]{0,8}\.[chS]", fullmatch=True)
modules = st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True)
ordinals = st.none() | st.integers(1, 10_000)
sizes = st.none() | st.integers(0, 2**32)
positions: st.SearchStrategy[Position] = st.one_of(
    st.just(Entry()),
    st.just(Return()),
    st.builds(Offset, st.integers(0, 2**32), sizes),
    st.builds(After, symbols, ordinals),
    st.builds(Call, symbols, ordinals),
)


@st.composite
def places(draw: st.DrawFn) -> Place:
    in_workload = draw(st.booleans())
    module = None if in_workload else draw(st.none() | modules)
    kind = draw(st.sampled_from(["function", "syscall", "line", "address"]))
    if kind == "function":
        return FunctionPlace(draw(symbols), draw(positions), module, in_workload=in_workload)
    if kind == "syscall":
        name = draw(st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True))
        return FunctionPlace(name, draw(positions), is_syscall=True)
    if kind == "line":
        return LinePlace(draw(files), draw(st.integers(1, 10**6)), module, in_workload)
    return AddressPlace(draw(st.integers(0, 2**64 - 1)), in_workload)


@given(places())
def test_text_of_a_place_reads_back_as_the_same_place(place: Place) -> None:
    assert parse_place(str(place)) == place


@given(st.text(max_size=40) | st.text("abf_.:+0x1!(), syscallafterworkload", max_size=30))
def test_any_text_is_a_place_or_a_configuration_error(text: str) -> None:
    try:
        place = parse_place(text)
    except ConfigurationError:
        return
    assert parse_place(str(place)) == place


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("do_swap_page", FunctionPlace("do_swap_page")),
        ("do_swap_page+0x1c", FunctionPlace("do_swap_page", Offset(0x1C))),
        ("do_swap_page+28", FunctionPlace("do_swap_page", Offset(28))),
        ("do_swap_page+0x1c/0x8c0", FunctionPlace("do_swap_page", Offset(0x1C, 0x8C0))),
        ("do_swap_page:return", FunctionPlace("do_swap_page", Return())),
        ("f:after(swap_readpage)", FunctionPlace("f", After("swap_readpage"))),
        ("f:after( g , 2 )", FunctionPlace("f", After("g", 2))),
        ("f:call(g)", FunctionPlace("f", Call("g"))),
        ("foo.isra.0:return", FunctionPlace("foo.isra.0", Return())),
        ("mm/memory.c:3421", LinePlace("mm/memory.c", 3421)),
        ("zram!zram_bvec_rw", FunctionPlace("zram_bvec_rw", module="zram")),
        ("snd-pcm!f:return", FunctionPlace("f", Return(), module="snd_pcm")),
        ("zram!zram_drv.c:12", LinePlace("zram_drv.c", 12, "zram")),
        ("syscall(personality)", FunctionPlace("personality", is_syscall=True)),
        ("syscall(read):return", FunctionPlace("read", Return(), is_syscall=True)),
        ("workload:marker", FunctionPlace("marker", in_workload=True)),
        ("workload:race.c:10", LinePlace("race.c", 10, in_workload=True)),
        ("0xffffffff81250000", AddressPlace(0xFFFFFFFF81250000)),
        (" f ", FunctionPlace("f")),
    ],
)
def test_place_is_read(text: str, expected: Place) -> None:
    assert parse_place(text) == expected


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("", 0, "expected a place: symbol, symbol"),
        ("12", 0, "expected a place"),
        ("f:retrun", 1, "expected the end, "),
        ("f:after", 1, ":after(callee)"),
        ("f:after()", 1, ":after(callee)"),
        ("f:after(g, 0)", 11, "calls count from 1"),
        ("f+", 1, "expected the end"),
        ("f+010", 2, "without leading 0"),
        ("f+0x1c:return", 6, "expected the end"),
        ("memory.c:0", 9, "lines count from 1"),
        ("workload:zram!f", 9, "the workload has no modules"),
        ("workload:syscall(read)", 9, "system calls are in the kernel"),
        ("zram!syscall(read)", 5, "system calls are in the kernel"),
        ("0x1ffffffffffffffff", 0, "at most 64 bits"),
    ],
)
def test_mistake_is_shown_with_a_caret(text: str, column: int, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_place(text)
    first, shown, caret = str(caught.value).split("\n")
    assert says in first
    assert shown == "  " + text
    assert caret == " " * (2 + column) + "^"
