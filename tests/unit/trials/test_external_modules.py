# SPDX-License-Identifier: BSD-2-Clause
"""Places in modules: which modules, and whether a guest has them where they were."""

import asyncio
from pathlib import Path

import pytest

from harness.errors import GuestError
from harness.places.image import LoadedModule
from harness.plan.rules import PlaceModel
from harness.qemu.plugin import PluginPlan, Point
from harness.trials.external import ExternalFailpoints, modules_of


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


def test_modules_of_all_spellings() -> None:
    places = [
        PlaceModel(name="a", at=["xfs!xfs_iget", "xfs_iget"]),
        PlaceModel(name="b", at="zram!zram_drv.c:7"),
        PlaceModel(name="c", at="workload:main"),
        PlaceModel(name="d", at="0xffffffff81000000"),
    ]
    assert modules_of(places) == ["xfs", "zram"]
