# SPDX-License-Identifier: BSD-2-Clause
"""Places in modules: which modules, and whether a guest has them where they were."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from harness.errors import ConfigurationError, GuestError
from harness.failpoints.grammar import parse_setting
from harness.places.dwarf import LineTable
from harness.places.image import KernelImage, LoadedModule, Segment
from harness.places.resolve import ResolvedPlace
from harness.places.symbols import SymbolTable
from harness.places.syntax import parse_place
from harness.plan.rules import PlaceModel
from harness.qemu.plugin import PluginPlan, Point
from harness.trials.external import (
    ExternalFailpoints,
    KernelCode,
    find_modules,
    modules_of,
    resolve_place,
)
from harness.trials.returns import ForcedReturn


class FakeShell:
    """A guest with one loaded module."""

    def __init__(self, address: str) -> None:
        self.address = address

    async def check(self, command: str) -> bytes:
        assert command == "cat /sys/module/some_disk/sections/.text"
        return f"{self.address}\n".encode()


EXTERNAL = ExternalFailpoints(
    PluginPlan((Point("p", (0xFFFFFFFFC0200010,)),)), (), {}, Path("x.so"),
    modules={"some-disk": LoadedModule({1: 0xFFFFFFFFC0200000}, {".text": 0xFFFFFFFFC0200000})},
)  # fmt: skip


def test_a_module_where_it_was() -> None:
    asyncio.run(EXTERNAL.check_modules(FakeShell("0xffffffffc0200000")))  # type: ignore[arg-type]


def test_a_module_elsewhere_is_told() -> None:
    with pytest.raises(GuestError, match=r"some-disk has its section \.text at 0xffffffffc0300000"):
        asyncio.run(EXTERNAL.check_modules(FakeShell("0xffffffffc0300000")))  # type: ignore[arg-type]


def test_places_go_with_their_module() -> None:
    was = {".text": 0xFFFFFFFFC0200000, ".text.unlikely": 0xFFFFFFFFC0201000}
    found = {".text": 0xFFFFFFFFC0301000, ".text.unlikely": 0xFFFFFFFFC0305000}
    at = (was[".text"] + 0x10, was[".text.unlikely"] + 4)
    kernel, hit = (
        0xFFFFFFFF81000000,
        ResolvedPlace(
            parse_place("some_disk!f"), at, "f", (0, 0), ("f", "f"), "kallsyms", ("", "")
        ),
    )
    outside = replace(hit, place=parse_place("g"), addresses=(kernel,))
    external = ExternalFailpoints(
        PluginPlan((Point("p", at), Point("k", (kernel,)))), (), {"p": hit, "k": outside},
        Path("x.so"), (ForcedReturn("r", "p", at[0], parse_setting("return(1)")),),
        {"some_disk": LoadedModule({3: was[".text"]}, was)},
    )  # fmt: skip

    class Shell:
        async def check(self, command: str) -> bytes:
            return f"{found[command.rpartition('/')[2]]:#x}\n".encode()

    shell = Shell()
    there = asyncio.run(find_modules(external.modules, shell))  # type: ignore[arg-type]
    moved = external.moved(there)
    expected = (found[".text"] + 0x10, found[".text.unlikely"] + 4)
    assert [point.addresses for point in moved.plan.points] == [expected, (kernel,)]
    assert moved.places["p"].addresses == expected
    assert moved.returns[0].address == expected[0]
    assert moved.modules["some_disk"].by_index == {3: found[".text"]}
    asyncio.run(moved.check_modules(shell))  # type: ignore[arg-type]
    assert moved.moved(there) is moved


def test_modules_of_all_spellings() -> None:
    places = [
        PlaceModel(name="a", at=["xfs!xfs_iget", "xfs_iget"]),
        PlaceModel(name="b", at="zram!zram_drv.c:7"),
        PlaceModel(name="c", at="workload:main"),
        PlaceModel(name="d", at="0xffffffff81000000"),
    ]
    assert modules_of(places) == ["xfs", "zram"]


class Inlined:
    """Source lines that know of one inlined function."""

    source = "the DWARF"

    def functions_inlining(self, name: str, near: int | None = None) -> tuple[str, ...]:
        return ("outer",) if name == "small" else ()


def code(*, at_hand: bool, asked: list[str | None]) -> KernelCode:
    symbols = SymbolTable.from_kallsyms(b"ffffffff81000000 T outer\nffffffff81000010 T _etext\n")
    image = KernelImage((Segment(0xFFFFFFFF81000000, b"\xc3" * 16),), "x86_64", "vm")

    def lines(module: str | None) -> LineTable:
        asked.append(module)
        return cast(LineTable, Inlined())

    return KernelCode("x86_64", symbols, image, None, lines, at_hand)


def test_where_a_function_was_inlined_is_told_if_that_costs_nothing() -> None:
    place = PlaceModel(name="p", at="small")
    asked: list[str | None] = []
    with pytest.raises(ConfigurationError, match="the DWARF says it is inlined in outer"):
        resolve_place(place, code(at_hand=True, asked=asked))
    assert asked == [None]
    with pytest.raises(ConfigurationError, match="no such function") as caught:
        resolve_place(place, code(at_hand=False, asked=asked))
    assert "DWARF" not in str(caught.value)
    assert asked == [None]  # nothing was fetched for a message
    assert resolve_place(PlaceModel(name="p", at="outer"), code(at_hand=True, asked=asked))
    assert asked == [None]
