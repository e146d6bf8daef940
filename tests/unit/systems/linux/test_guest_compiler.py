# SPDX-License-Identifier: BSD-2-Clause
"""Compiling in a guest: whose fault it was, which disks it has, where the program is kept."""

from pathlib import Path

import pytest
from running import PROJECT

from harness.errors import ConfigurationError, GuestError, HarnessError, InfrastructureError
from harness.plan.load import load_guest
from harness.qemu.command import Boot
from harness.systems.base import WorkloadOrder
from harness.systems.linux.guest_compiler import failure, kept_program, with_disks
from harness.systems.linux.toolchain_disk import ToolchainDisk

GUEST = load_guest(PROJECT, "linux-arm64").model


@pytest.fixture
def order(tmp_path: Path) -> WorkloadOrder:
    (tmp_path / "own.h").write_text("#define A 1\n")
    (tmp_path / "tool.c").write_text('#include "own.h"\n')
    return WorkloadOrder(tmp_path / "tool.c", GUEST, in_guest=True)


@pytest.mark.parametrize(
    ("status", "said", "kind", "told"),
    [
        (1, "/tmp/src/tool.c:2:1: error: what is this", ConfigurationError, "tool.c:2:1: error"),
        (1, "/tmp/src/own.h:9:1: error: no", ConfigurationError, "own.h:9:1"),
        (1, "as: /tmp/x.o: No space left on device", InfrastructureError, "memory_mib"),
        (1, "cc1: out of memory allocating 9 bytes", InfrastructureError, "now 768"),
        (4, "gcc: fatal error: Killed signal terminated program cc1", InfrastructureError, "raise"),
        (127, "chroot: can't execute '/usr/bin/gcc'", GuestError, "--compile host"),
    ],
)
def test_whose_fault_it_was(
    order: WorkloadOrder, status: int, said: str, kind: type[HarnessError], told: str
) -> None:
    assert GUEST.compiler is not None
    error = failure(order, GUEST.compiler, status, said)
    assert type(error) is kind
    assert told in str(error)
    assert "/tmp/src/" not in str(error)
    if kind is ConfigurationError:
        assert str(error).startswith(f"{order.source} does not compile")
        assert f"{order.source.parent}/" in str(error).partition("\n")[2]


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
