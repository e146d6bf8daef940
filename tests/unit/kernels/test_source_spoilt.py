# SPDX-License-Identifier: BSD-2-Clause
"""Builds that write into their sources, which are hard links to a tree that others use."""

import os
from pathlib import Path

import pytest
from fake_linux import FakeLinux

from harness.errors import InfrastructureError
from harness.kernels.source.tree import BuildFolder

WRITES = "\t@echo '/* generated */' >> mm/memory.c\n"
"""A line of the Makefile that changes a source in place."""


def writing(makefile: str) -> str:
    return makefile.replace("bzImage: $(O)/vmlinux\n", "bzImage: $(O)/vmlinux\n" + WRITES)


def tree_of(fake: FakeLinux) -> Path:
    (tree,) = (path for path in (fake.cache / "sources").iterdir() if path.is_dir())
    return tree


def test_a_build_does_not_change_what_others_build_from(fake_linux: FakeLinux) -> None:
    fake_linux.build()
    tree = tree_of(fake_linux)
    linked = fake_linux.build_folder / "source/mm/memory.c"
    assert linked.samefile(tree / "mm/memory.c")  # else this test shows nothing
    pristine = linked.read_text()
    before = fake_linux.build_folder
    patch = fake_linux.patch("generates.patch", "Makefile", writing)
    fake_linux.fragments = ["race.config", "more.config"]  # in a build folder of its own
    (fake_linux.target / "more.config").write_text("")
    with pytest.raises(InfrastructureError, match=r"into its sources \(mm/memory\.c\)"):
        fake_linux.build(patch)
    assert not tree.exists()
    # the other build folder's file is the spoilt one, and is compared before it is used again
    fake_linux.fragments = "race.config"
    other = fake_linux.patch("other.patch", "mm/swap.c", lambda text: text + "int x;\n")
    assert fake_linux.build(other).image.is_file()
    assert (before / "source/mm/memory.c").read_text() == pristine
    assert (tree_of(fake_linux) / "mm/memory.c").read_text() == pristine
    # the one that writes has copies now
    fake_linux.fragments = ["race.config", "more.config"]
    fake_linux.build(patch)
    assert (tree_of(fake_linux) / "mm/memory.c").read_text() == pristine


def test_times_to_come_are_no_sign_of_writing(fake_linux: FakeLinux) -> None:
    fake_linux.build()
    later = fake_linux.build_folder.stat().st_mtime + 1e6
    os.utime(tree_of(fake_linux) / "mm/memory.c", (later, later))
    fake_linux.build(fake_linux.patch("other.patch", "mm/swap.c", lambda t: t + "int x;\n"))


def test_a_build_that_was_broken_off_is_looked_at_by_the_next(fake_linux: FakeLinux) -> None:
    kernel = fake_linux.build()
    build = BuildFolder(fake_linux.build_folder)
    assert build.source_set_ns is None
    tree = tree_of(fake_linux)
    (build.path / "source-is-set").touch()
    with (build.source / "mm/memory.c").open("a") as file:
        file.write("half")
    (kernel.image.parent / "recipe.json").unlink()
    with pytest.raises(InfrastructureError, match="run the command again"):
        fake_linux.build()
    assert not tree.exists()
    assert fake_linux.build().image.is_file()
    assert "half" not in (fake_linux.build_folder / "source/mm/memory.c").read_text()
