# SPDX-License-Identifier: BSD-2-Clause
"""Modules in the order in which they must be loaded, whatever they are compressed with."""

import bz2
import gzip
import lzma
import struct
from pathlib import Path

import pytest
import zstandard

from harness.errors import ConfigurationError
from harness.systems.linux.modules import load_order

COMPRESS = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
    ".zst": lambda data: zstandard.ZstdCompressor().compress(data),
}


def module(depends: str) -> bytes:
    """An ELF file with nothing but .modinfo (gABI, chapters 4: header and section header)."""
    info = b"license=GPL\0depends=" + depends.encode() + b"\0name=x\0"
    names = b"\0.modinfo\0.shstrtab\0"
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 1, 62, 1, 0, 0, 64, 0, 64, 0, 0, 64, 3, 2
    )
    at = 64 + 3 * 64
    sections = [
        bytes(64),
        struct.pack("<IIQQQQIIQQ", 1, 1, 0, 0, at, len(info), 0, 0, 1, 0),
        struct.pack("<IIQQQQIIQQ", 10, 3, 0, 0, at + len(info), len(names), 0, 0, 1, 0),
    ]
    return header + b"".join(sections) + info + names


def put(tree: Path, name: str, depends: str = "", suffix: str = "") -> None:
    path = tree / "kernel" / "drivers" / f"{name}.ko{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(COMPRESS[suffix](module(depends)))


def order(tree: Path, *names: str) -> list[str]:
    return [name for name, _ in load_order(tree, names)]


@pytest.mark.parametrize("suffix", COMPRESS)
def test_dependencies_come_first_and_once(tmp_path: Path, suffix: str) -> None:
    put(tmp_path, "zram", "zsmalloc,lzo-rle", suffix)
    put(tmp_path, "zsmalloc", "base", suffix)
    put(tmp_path, "lzo-rle", "base", suffix)
    put(tmp_path, "base", "", suffix)
    assert order(tmp_path, "zram", "base") == ["base", "zsmalloc", "lzo_rle", "zram"]
    assert order(tmp_path, "lzo_rle") == order(tmp_path, "lzo-rle") == ["base", "lzo_rle"]
    assert all(data == module("") for name, data in load_order(tmp_path, ["base"]))


def test_built_in_modules_are_skipped(tmp_path: Path) -> None:
    put(tmp_path, "zram", "zsmalloc")
    (tmp_path / "modules.builtin").write_text("kernel/mm/zsmalloc.ko\nkernel/x/loop.ko\n")
    assert order(tmp_path, "loop", "zram") == ["zram"]


def test_a_module_that_is_not_there_is_named_with_who_wants_it(tmp_path: Path) -> None:
    tree = tmp_path / "5.10.0-x"
    put(tree, "zram", "zsmalloc")
    with pytest.raises(
        ConfigurationError, match=r"module zram needs the module zsmalloc.*5.10.0-x"
    ):
        order(tree, "zram")
    with pytest.raises(ConfigurationError, match="the target needs the module nothing"):
        order(tree, "nothing")


def test_modules_that_need_each_other_end(tmp_path: Path) -> None:
    put(tmp_path, "a", "b")
    put(tmp_path, "b", "a")
    with pytest.raises(ConfigurationError, match="need each other"):
        order(tmp_path, "a")
