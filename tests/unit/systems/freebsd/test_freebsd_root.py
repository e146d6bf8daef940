# SPDX-License-Identifier: BSD-2-Clause
"""The micro-guest's root: a UFS image made by makefs(8)."""

import shutil
import struct
from pathlib import Path

import pytest

from harness.errors import InfrastructureError
from harness.systems.freebsd.root import Root, make_root, root_image

needs_makefs = pytest.mark.skipif(
    shutil.which("makefs") is None, reason="no makefs on this host (package makefs)"
)
# sys/ufs/ffs/fs.h: where the superblock of UFS1 is, and its magic number's place in it
SUPERBLOCK, MAGIC_OFFSET, UFS1 = 8192, 1372, 0x011954


@needs_makefs
def test_the_image_is_ufs1_with_the_programs_in_it() -> None:
    makefs = shutil.which("makefs")
    assert makefs is not None
    image = make_root({"init": b"INIT" * 1000, "workload": b"WORK" * 1000}, makefs)
    assert struct.unpack_from("<i", image, SUPERBLOCK + MAGIC_OFFSET) == (UFS1,)
    for content in (b"INIT" * 1000, b"WORK" * 1000):
        assert content in image
    for name in (b"init\0", b"workload\0", b"dev\0", b"tmp\0"):
        assert name in image
    assert len(image) >= 3 << 20, "room for what is put into the running guest"


@needs_makefs
def test_the_same_programs_are_one_image_in_the_cache(tmp_path: Path) -> None:
    init, workload, said = tmp_path / "init", tmp_path / "workload", list[str]()
    init.write_bytes(b"i")
    workload.write_bytes(b"w")
    image = root_image(Root(init, workload), tmp_path, said.append)
    before = image.stat().st_mtime_ns
    assert root_image(Root(init, workload), tmp_path, said.append) == image
    assert image.stat().st_mtime_ns == before
    workload.write_bytes(b"W")
    assert root_image(Root(init, workload), tmp_path, said.append) != image
    assert root_image(Root(init, None), tmp_path, said.append) != image


def test_what_makefs_says_is_in_the_error(tmp_path: Path) -> None:
    makefs = tmp_path / "makefs"
    makefs.write_text("#!/bin/sh\necho no space >&2\nexit 3\n")
    makefs.chmod(0o755)
    with pytest.raises(InfrastructureError, match="status 3: no space"):
        make_root({"init": b""}, str(makefs))


def test_a_makefs_that_is_not_there_is_said() -> None:
    with pytest.raises(InfrastructureError, match="makefs does not work"):
        make_root({"init": b""}, "/nowhere/makefs")
