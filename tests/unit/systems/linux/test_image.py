# SPDX-License-Identifier: BSD-2-Clause
"""The initramfs holds what it was given, under the names that the guest will see."""

import subprocess
from pathlib import Path

from harness.systems.linux.image import Userland, build_initramfs


def userland(folder: Path, **files: bytes) -> Userland:
    program = folder / "program"
    program.write_bytes(b"\x7fELF")
    return Userland(
        init=program,
        busybox=program,
        workload=program,
        modules=(("zram", b"module"),),
        files=tuple((f"/images/deep/{name}", data) for name, data in files.items()),
    )


def names(image: Path) -> list[str]:
    with image.open("rb") as archive:
        done = subprocess.run(
            ["cpio", "-t", "--quiet"], stdin=archive, capture_output=True, text=True, check=True
        )
    return done.stdout.split()


def test_added_files_come_after_their_folders(tmp_path: Path) -> None:
    listed = names(build_initramfs(userland(tmp_path, xfs=b"1", ext4=b"2"), tmp_path))
    folders = [listed.index("images"), listed.index("images/deep")]
    files = [listed.index("images/deep/xfs"), listed.index("images/deep/ext4")]
    assert max(folders) < min(files)
    assert folders == sorted(folders)
    assert listed.count("images") == 1


def test_another_file_is_another_image(tmp_path: Path) -> None:
    one = build_initramfs(userland(tmp_path, xfs=b"1"), tmp_path)
    assert build_initramfs(userland(tmp_path, xfs=b"1"), tmp_path) == one
    assert build_initramfs(userland(tmp_path, xfs=b"2"), tmp_path) != one
