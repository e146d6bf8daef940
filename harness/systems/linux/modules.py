# SPDX-License-Identifier: BSD-2-Clause
"""Kernel modules and what must be loaded before them, read from the modules themselves."""

import bz2
import gzip
import io
import lzma
from collections.abc import Sequence
from pathlib import Path

import zstandard
from elftools.elf.elffile import ELFFile

from harness.errors import ConfigurationError

_SUFFIXES = ("", ".xz", ".gz", ".zst", ".bz2")


def load_order(tree: Path, names: Sequence[str]) -> list[tuple[str, bytes]]:
    """Modules to load, dependencies first: name and uncompressed content of each.

    `tree` is lib/modules/<release>. Raises ConfigurationError for a module that the kernel does
    not have, be it built in or absent: a built-in one is skipped.
    """
    available = _available(tree)
    built_in = _built_in(tree)
    ordered: dict[str, bytes] = {}
    under_way: list[str] = []

    def add(name: str, wanted_by: str) -> None:
        name = name.replace("-", "_")
        if name in ordered or name in built_in:
            return
        if name not in available:
            raise ConfigurationError(
                f"{wanted_by} needs the module {name}, which the kernel {tree.name} does not have"
            )
        content = _uncompressed(available[name])
        if name in under_way:
            raise ConfigurationError(f"the modules {' and '.join(under_way)} need each other")
        under_way.append(name)
        for dependency in _depends(content):
            add(dependency, f"the module {name}")
        under_way.remove(name)
        ordered[name] = content

    for name in names:
        add(name, "the target")
    return list(ordered.items())


def module_content(tree: Path, name: str) -> bytes:
    """A module's uncompressed .ko file. Raises ConfigurationError where it is none."""
    path = _available(tree).get(name.replace("-", "_"))
    if path is None:
        built_in = name.replace("-", "_") in _built_in(tree)
        why = "it is built in: leave the module's name out" if built_in else "there is none"
        raise ConfigurationError(f"the kernel {tree.name} has no module {name}: {why}")
    return _uncompressed(path)


def _available(tree: Path) -> dict[str, Path]:
    return {_module_name(path): path for path in sorted(tree.rglob("*.ko*")) if _is_module(path)}


def _is_module(path: Path) -> bool:
    return any(path.name.endswith(".ko" + suffix) for suffix in _SUFFIXES)


def _module_name(path: Path) -> str:
    return path.name.partition(".ko")[0].replace("-", "_")


def _built_in(tree: Path) -> set[str]:
    listing = tree / "modules.builtin"
    if not listing.exists():
        return set()
    return {_module_name(Path(line)) for line in listing.read_text().splitlines()}


def _uncompressed(path: Path) -> bytes:
    data = path.read_bytes()
    match path.suffix:
        case ".xz":
            return lzma.decompress(data)
        case ".gz":
            return gzip.decompress(data)
        case ".bz2":
            return bz2.decompress(data)
        case ".zst":
            return zstandard.ZstdDecompressor().stream_reader(data).read()
    return data


def _depends(module: bytes) -> list[str]:
    """The `depends=` entry of .modinfo (include/linux/module.h, MODULE_INFO)."""
    section = ELFFile(io.BytesIO(module)).get_section_by_name(".modinfo")
    if section is None:
        return []
    for item in section.data().split(b"\0"):
        if item.startswith(b"depends="):
            return [name for name in item[len(b"depends=") :].decode().split(",") if name]
    return []
