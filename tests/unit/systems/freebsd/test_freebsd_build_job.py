# SPDX-License-Identifier: BSD-2-Clause
"""A build in a guest, seen from the host: the disks that stay, and when they do not."""

import asyncio
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import GuestError
from harness.paths import PROJECT
from harness.plan.load import load_guest
from harness.qemu.command import Boot
from harness.qemu.guest import GuestPlan
from harness.systems.base import GuestImage
from harness.systems.freebsd import build_job as module
from harness.systems.freebsd.build_job import BuildOrder, carry_out
from harness.systems.freebsd.shipment import Shipment


@dataclass
class PretendedGuest:
    """In place of a guest: notes what it is asked, and what the disks for it had."""

    status: int | None = 0
    dies: bool = False
    asked: list[str] = field(default_factory=list)
    sent: list[list[str]] = field(default_factory=list)
    made: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def channel(self) -> "PretendedGuest":
        return self

    async def check(self, command: str) -> bytes:
        self.asked.append(command)
        return b""

    async def start(self, command: str) -> "PretendedGuest":
        self.asked.append(command)
        return self

    async def output(self) -> AsyncIterator[bytes]:
        yield b"--- vm_fault.o ---\n"
        if self.dies:
            raise GuestError("the guest is gone")

    async def get(self, path: str) -> bytes:
        return path.encode()


@pytest.fixture
def guest(monkeypatch: pytest.MonkeyPatch) -> PretendedGuest:
    pretended = PretendedGuest()

    @asynccontextmanager
    async def started(plan: GuestPlan, *_: Any, **__: Any) -> AsyncIterator[PretendedGuest]:
        drives = [word for word in plan.boot.arguments if word.startswith("id=new,")]
        with tarfile.open(drives[0].partition("file=")[2]) as packed:
            pretended.sent.append(sorted(packed.getnames()))
        yield pretended

    def make(shipment: Shipment, source: Path, disk: Path, makefs: str) -> None:
        pretended.made.append(shipment.changed)
        disk.write_bytes(b"")

    monkeypatch.setattr(module, "make_source_disk", make)
    monkeypatch.setattr(module, "find_makefs", lambda *_: "makefs")
    image = GuestImage(Boot(Path("/kernel")), (), "/workload")
    monkeypatch.setattr(module, "started_guest", started)
    monkeypatch.setattr(module, "full_image", lambda *_: image)
    monkeypatch.setattr(module, "own_kernel", lambda *_, **__: SimpleNamespace())
    monkeypatch.setattr(module, "choose_accelerator", lambda *_: "tcg")
    return pretended


@pytest.fixture
def order(tmp_path: Path) -> BuildOrder:
    for name in ("source/a.c", "source/b.c", "source/objects/.keep", "HARNESS"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    model = load_guest(PROJECT, "freebsd-amd64-full").model
    assert model.image is not None
    image = model.image.model_copy(update={"kernel": "/kernel"})
    return BuildOrder(
        guest=model.model_copy(update={"image": image}).model_dump_json(),
        source=str(tmp_path / "source"),
        objects=str(tmp_path / "source/objects"),
        config=str(tmp_path / "HARNESS"),
        ident="HARNESS",
        cache=str(tmp_path / "cache"),
    )


NOTHING_NEW = ["HARNESS", "build.sh", "removed"]
EVERYTHING = ("a.c", "b.c")


def test_the_disks_stay_and_the_next_build_is_sent_what_is_new(
    order: BuildOrder, guest: PretendedGuest
) -> None:
    objects = Path(order.objects)
    assert asyncio.run(carry_out(order)) == 0
    assert (objects / "made/kernel.full").read_text() == "/harness-work/made/kernel.full"
    assert "newfs" in guest.asked[0]
    assert guest.asked[-1] == "cd / && umount /harness-work/src && umount /harness-work"
    assert not (objects / "work.mark").exists()
    Path(order.source, "b.c").write_text("longer than before")
    Path(order.source, "a.c").unlink()
    guest.asked.clear()
    assert asyncio.run(carry_out(order)) == 0
    assert "newfs" not in guest.asked[0]
    assert guest.made == [EVERYTHING]
    assert guest.sent == [NOTHING_NEW, [*NOTHING_NEW, "src/b.c"]]
    assert sorted(path.name for path in objects.iterdir()) == [
        ".keep", "made", "tree.img", "work.img", "work.json",
    ]  # fmt: skip


def test_a_make_that_fails_leaves_disks_to_go_on_with(
    order: BuildOrder, guest: PretendedGuest
) -> None:
    guest.status = 2
    assert asyncio.run(carry_out(order)) == 2
    assert not Path(order.objects, "made").exists()
    guest.status = 0
    assert asyncio.run(carry_out(order)) == 0
    assert (guest.made, guest.sent[1]) == ([EVERYTHING], NOTHING_NEW)


def test_a_guest_that_dies_or_a_harness_that_is_killed_costs_the_disks(
    order: BuildOrder, guest: PretendedGuest
) -> None:
    guest.dies = True
    with pytest.raises(GuestError, match="gone"):
        asyncio.run(carry_out(order))
    assert Path(order.objects, "work.mark").exists()
    assert not Path(order.objects, "made").exists()
    guest.dies = False
    guest.asked.clear()
    assert asyncio.run(carry_out(order)) == 0
    assert "newfs" in guest.asked[0]
    assert (guest.made, guest.sent) == ([EVERYTHING] * 2, [NOTHING_NEW] * 2)
