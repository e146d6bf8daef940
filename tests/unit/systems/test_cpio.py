# SPDX-License-Identifier: BSD-2-Clause
"""Initramfs archives: readable by cpio where there is one, and by the format's own words."""

import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.systems.linux import cpio

ENTRIES = [
    cpio.folder("dev"),
    cpio.console_device(),
    cpio.folder("bin"),
    cpio.file("bin/tool", b"\0binary\xff" * 3, 0o755),
    cpio.file("empty", b""),
    cpio.link("bin/sh", "tool"),
]


def parse(data: bytes) -> list[cpio.Entry]:
    """By Documentation/driver-api/early-userspace/buffer-format.rst."""
    entries, at = [], 0
    while True:
        assert at % 4 == 0
        assert data[at : at + 6] == b"070701"
        words = [int(data[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        _, mode, uid, gid, links, _, size, _, _, major, minor, name_size, _ = words
        assert (uid, gid, links) == (0, 0, 1)
        name = data[at + 110 : at + 110 + name_size]
        assert name.endswith(b"\0")
        at += (110 + name_size + 3) & ~3
        body = data[at : at + size]
        at += (size + 3) & ~3
        if name == b"TRAILER!!!\0":
            assert not data[at:].strip(b"\0")
            return entries
        entries.append(cpio.Entry(name[:-1].decode(), mode, body, (major, minor)))


def test_what_goes_in_comes_out() -> None:
    assert parse(cpio.archive(ENTRIES)) == ENTRIES


@given(st.lists(st.tuples(st.text("abc/", min_size=1, max_size=9), st.binary(max_size=40))))
def test_any_names_and_contents(files: list[tuple[str, bytes]]) -> None:
    entries = [cpio.file(name, data) for name, data in files]
    assert parse(cpio.archive(entries)) == entries
    assert cpio.archive(entries) == cpio.archive(entries)


def test_cpio_reads_it(tmp_path: Path) -> None:
    if shutil.which("cpio") is None:
        pytest.skip("no cpio on this host; the format is checked by the other tests")
    done = subprocess.run(
        ["cpio", "-it", "--verbose", "--numeric-uid-gid"],
        input=cpio.archive(ENTRIES), capture_output=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    lines = [line.split() for line in done.stdout.decode().splitlines()]
    assert [(line[0][0], line[-1]) for line in lines] == [
        ("d", "dev"), ("c", "dev/console"), ("d", "bin"), ("-", "bin/tool"), ("-", "empty"),
        ("l", "tool"),
    ]  # fmt: skip


def test_the_console_device_is_the_kernel_s() -> None:
    (entry,) = (entry for entry in ENTRIES if entry.path == "dev/console")
    assert stat.S_ISCHR(entry.mode)
    assert entry.device == (5, 1)
