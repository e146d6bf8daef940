# SPDX-License-Identifier: BSD-2-Clause
"""The tree's own tools (bmake, config, objcopy …), built once and linked into build folders.

They are what `make kernel-toolchain` leaves in the objects' folder. Two trees share them where all
that they are mainly made of is the same: see `toolchain_key`.
"""

import json
import os
import re
import shutil
from hashlib import sha256
from pathlib import Path

from harness.errors import InfrastructureError
from harness.files import make_folder_once

_MADE_OF = (
    "Makefile.inc1", "share/mk", "tools/build", "contrib/bmake", "usr.sbin/config",
    "contrib/elftoolchain/libelf", "contrib/elftoolchain/elfcopy", "lib/libelf",
)  # fmt: skip
_NOT_NEEDED = re.compile(r"obj-.*")
"""Objects of the tools: only to build them again."""
_ORIGIN = "origin.json"


def toolchain_key(tree: Path, ingredients: list[str]) -> str:
    """Names the tools of a tree: by __FreeBSD_version, its build system and its more important
    tools' sources, and `ingredients` of the host (compilers, configuration).

    A change elsewhere (to the tree's awk, say) that leaves __FreeBSD_version alone is not seen.
    """
    digest = sha256(json.dumps(ingredients).encode())
    version = re.search(
        r"#define\s+__FreeBSD_version\s+(\d+)",
        (tree / "sys/sys/param.h").read_text(encoding="utf-8", errors="replace"),
    )
    digest.update(version[1].encode() if version else b"unknown")
    for name in _MADE_OF:
        for file in _files(tree / name):
            digest.update(str(file.relative_to(tree)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def keep_toolchain(objects: Path, bmake: Path, source: Path, kept: Path) -> None:
    """Copies the tools that were built for `source` into the cache folder `kept`."""

    def fill(into: Path) -> None:
        try:
            shutil.copytree(
                objects / "tmp", into / "tmp", symlinks=True, ignore=_leave_out,
                copy_function=shutil.copy2,
            )  # fmt: skip
            shutil.copytree(bmake, into / "bmake", symlinks=True)
        except (OSError, shutil.Error) as error:
            raise InfrastructureError(f"cannot keep the built tools: {error}") from error
        (into / _ORIGIN).write_text(json.dumps({"source": str(source)}))

    make_folder_once(kept, fill)


def place_toolchain(kept: Path, objects: Path, bmake: Path, source: Path) -> None:
    """Links the kept tools into a build folder for the tree `source`; what is there goes.

    Links to files of the tree that they were built from become links into this one.
    """
    before = Path(json.loads((kept / _ORIGIN).read_text())["source"])
    for name, place in (("tmp", objects / "tmp"), ("bmake", bmake)):
        if place.is_symlink() or place.exists():
            shutil.rmtree(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        _link_tree(kept / name, place, before, source)


def _link_tree(kept: Path, into: Path, before: Path, source: Path) -> None:
    unfinished = into.with_name(f".{into.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    for folder, folders, files in os.walk(kept):
        here = unfinished / Path(folder).relative_to(kept)
        here.mkdir(parents=True)
        for name in (*files, *folders):
            path = Path(folder, name)
            if path.is_symlink():
                target = path.readlink()
                if target.is_relative_to(before):
                    target = source / target.relative_to(before)
                (here / name).symlink_to(target)
            elif path.is_file():
                os.link(path, here / name)
    unfinished.rename(into)


def _leave_out(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if _NOT_NEEDED.fullmatch(name)}


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
