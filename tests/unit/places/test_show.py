# SPDX-License-Identifier: BSD-2-Clause
"""Tests of places shown as text."""

from harness.places.resolve import ResolvedPlace
from harness.places.show import render
from harness.places.syntax import parse_place


def test_each_address_and_note_has_a_line_and_nothing_unprintable_passes() -> None:
    shown = render(
        ResolvedPlace(
            place=parse_place("f:return"),
            addresses=(0xFFFFFFFF81000010, 0xFFFFFFFF80FFFFF0),
            function="f",
            offsets=(0x10, -0x10),
            positions=("f\x1b[31m+0x10", "f.cold+0x0"),
            symbol_file="kallsyms",
            disassembly=("=> ffffffff81000010  f+0x10  ret", "", "   x"),
            notes=("something to know",),
        )
    )
    assert shown == (
        "f:return  (symbols: kallsyms)\n"
        "  0xffffffff81000010  f\N{REPLACEMENT CHARACTER}[31m+0x10\n"
        "  0xffffffff80fffff0  f.cold+0x0\n"
        "  note: something to know\n"
        "\n"
        "    => ffffffff81000010  f+0x10  ret\n"
        "\n"
        "       x\n"
    )
