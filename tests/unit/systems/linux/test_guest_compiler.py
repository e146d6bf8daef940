# SPDX-License-Identifier: BSD-2-Clause
"""Compiling in a guest: whose fault it was, which disks it has, where the program is kept."""

from pathlib import Path

import pytest
from running import PROJECT

from harness.plan.load import load_guest
from harness.qemu.command import Boot
from harness.systems.base import WorkloadOrder
from harness.systems.linux.guest_compiler import kept_program, with_disks
from harness.systems.linux.toolchain_disk import ToolchainDisk

GUEST = load_guest(PROJECT, "linux-arm64").model


@pytest.fixture
def order(tmp_path: Path) -> WorkloadOrder:
    (tmp_path / "own.h").write_text("#define A 1\n")
    (tmp_path / "tool.c").write_text('#include "own.h"\n')
    return WorkloadOrder(tmp_path / "tool.c", GUEST, in_guest=True)


def test_disks_are_in_order_and_commas_are_no_options(tmp_path: Path) -> None:
    boot = with_disks(
        Boot(None, arguments=("-x",)), (tmp_path / "a,b", True), (Path("/out"), False)
    )
    assert boot.arguments == (
        "-x",
        "-drive", f"if=none,id=disk0,format=raw,file={tmp_path}/a,,b,readonly=on",
        "-device", "virtio-blk-pci,drive=disk0",
        "-drive", "if=none,id=disk1,format=raw,file=/out",
        "-device", "virtio-blk-pci,drive=disk1",
    )  # fmt: skip


def test_everything_that_goes_in_decides_where_the_program_is(
    order: WorkloadOrder, tmp_path: Path
) -> None:
    disk = ToolchainDisk(Path("disk.img"), "1")
    x86 = load_guest(PROJECT, "linux-x86_64").model
    kept = [
        kept_program(order, disk, tmp_path),
        kept_program(order, ToolchainDisk(disk.image, "2"), tmp_path),
        kept_program(WorkloadOrder(order.source, x86, True), disk, tmp_path),
        kept_program(WorkloadOrder(order.source, GUEST, True, ("-DX",)), disk, tmp_path),
    ]
    (tmp_path / "own.h").write_text("#define A 2\n")
    kept.append(kept_program(order, disk, tmp_path))
    assert len(set(kept)) == len(kept)
    assert all(path.name.startswith("tool-") for path in kept)
