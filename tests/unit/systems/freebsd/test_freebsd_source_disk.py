# SPDX-License-Identifier: BSD-2-Clause
"""The disk with a tree's sources: a UFS with these files and with room, or makefs's own words."""

import shutil
from pathlib import Path

import pytest

from harness.errors import InfrastructureError
from harness.systems.freebsd.shipment import Shipment, plan_shipment
from harness.systems.freebsd.source_disk import make_source_disk

_MAGIC_AT, _UFS1 = 8192 + 1372, 0x011954
"""Where a superblock of version 1 has its magic (sys/ufs/ffs/fs.h), and which."""


@pytest.fixture
def shipment(tmp_path: Path) -> Shipment:
    for name in ("sys/vm/vm_fault.c", "sys/vm/vm_map.c", "objects/old.o"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"the content of {name}\n")
    (tmp_path / "sys/link").symlink_to("vm")
    return plan_shipment(tmp_path, tmp_path / "objects", tmp_path / "none")


@pytest.mark.skipif(shutil.which("makefs") is None, reason="makefs is not installed")
def test_the_tree_s_files_are_in_it_and_no_others(shipment: Shipment, tmp_path: Path) -> None:
    disk = tmp_path / "objects/tree.img"
    make_source_disk(shipment, tmp_path, disk, "makefs")
    content = disk.read_bytes()
    assert int.from_bytes(content[_MAGIC_AT : _MAGIC_AT + 4], "little") == _UFS1
    assert b"the content of sys/vm/vm_fault.c\n" in content
    assert b"old.o" not in content
    assert sorted(path.name for path in disk.parent.iterdir()) == ["old.o", "tree.img"]
    assert (tmp_path / "sys/vm/vm_map.c").stat().st_nlink == 1


def test_what_makefs_says_is_said(shipment: Shipment, tmp_path: Path) -> None:
    makefs = tmp_path / "makefs"
    makefs.write_text("#!/bin/sh\necho 'No space left on device' >&2; exit 1\n")
    makefs.chmod(0o755)
    with pytest.raises(InfrastructureError, match=r"status 1: No space left on device"):
        make_source_disk(shipment, tmp_path, tmp_path / "objects/tree.img", str(makefs))
    assert [path.name for path in (tmp_path / "objects").iterdir()] == ["old.o"]
