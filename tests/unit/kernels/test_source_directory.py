# SPDX-License-Identifier: BSD-2-Clause
"""Kernels from a user's own directory: a git worktree, or files without git."""

import os
import shutil
from pathlib import Path

import pytest
from fake_linux import MEMORY_C, FakeLinux

from harness.errors import ConfigurationError
from harness.kernels.kbuild.builder import LINUX
from harness.kernels.source import directory as directory_module
from harness.kernels.source.directory import copy_directory, directory_state

WHERE = "the source directory"


def _edit(fake: FakeLinux, old: str, new: str) -> None:
    file = fake.tree / "mm/memory.c"
    file.write_text(file.read_text().replace(old, new))


def test_a_directory_is_built_and_left_alone(fake_linux: FakeLinux) -> None:
    before = sorted(path for path in fake_linux.tree.rglob("*"))
    kernel = fake_linux.build(directory=str(fake_linux.tree))
    assert kernel.source == f"directory {fake_linux.tree}"
    assert kernel.commit is None
    assert sorted(path for path in fake_linux.tree.rglob("*")) == before
    built = fake_linux.build_folder / "source/mm/memory.c"
    assert built.read_text() == MEMORY_C
    assert not built.samefile(fake_linux.tree / "mm/memory.c")


def test_a_path_is_relative_to_the_target(fake_linux: FakeLinux) -> None:
    assert fake_linux.build(directory="../tree") == fake_linux.build(directory=str(fake_linux.tree))


@pytest.mark.parametrize("with_git", [False, True])
def test_an_edit_builds_what_it_touches(fake_linux: FakeLinux, with_git: bool) -> None:
    if with_git:
        fake_linux.commit("v1")
    first = fake_linux.build(directory="../tree")
    assert fake_linux.compiled() == ["mm/memory.c", "mm/swap.c"]
    _edit(fake_linux, "int memory_7;", "int edited;")
    second = fake_linux.build(directory="../tree")
    assert fake_linux.compiled() == ["mm/memory.c"]
    assert second.identity != first.identity
    assert any("copied 1 of " in line for line in fake_linux.said)


def test_a_patch_holds_for_every_state(fake_linux: FakeLinux) -> None:
    patch = fake_linux.patch("two.patch", "mm/swap.c", lambda text: text + "int two;\n")
    fake_linux.build(patch, directory="../tree")
    fake_linux.compiled()
    _edit(fake_linux, "int memory_7;", "int edited;")
    fake_linux.build(patch, directory="../tree")
    assert fake_linux.compiled() == ["mm/memory.c"]
    assert "int two" in (fake_linux.build_folder / "source/mm/swap.c").read_text()
    fake_linux.build(directory="../tree")
    assert fake_linux.compiled() == ["mm/swap.c"]


def test_files_that_go_and_come(fake_linux: FakeLinux) -> None:
    (fake_linux.tree / "mm/ksm").mkdir()
    (fake_linux.tree / "mm/ksm/scan.h").write_text("\n")
    (fake_linux.tree / "mm/link.h").symlink_to("ksm/scan.h")
    fake_linux.build(directory="../tree")
    source = fake_linux.build_folder / "source"
    assert (source / "mm/link.h").readlink() == Path("ksm/scan.h")
    shutil.rmtree(fake_linux.tree / "mm/ksm")
    (fake_linux.tree / "mm/ksm").write_text("a file now\n")
    (fake_linux.tree / "mm/link.h").unlink()
    (fake_linux.tree / "mm/link.h").symlink_to("swap.c")
    fake_linux.build(directory="../tree")
    assert (source / "mm/ksm").read_text() == "a file now\n"
    assert (source / "mm/link.h").readlink() == Path("swap.c")
    assert (source / "objects/mm/memory.o").exists()


def test_an_interrupted_change_of_the_tree_is_finished(fake_linux: FakeLinux) -> None:
    fake_linux.build(directory="../tree")
    # as a kill in the middle leaves it: the tree's name gone, some files changed
    (fake_linux.build_folder / "origin.json").unlink()
    (fake_linux.build_folder / "source/mm/swap.c").unlink()
    (fake_linux.build_folder / "source/mm/stray.c").write_text("int stray;\n")
    shutil.rmtree(fake_linux.cache / "kernels")
    fake_linux.build(directory="../tree")
    assert (fake_linux.build_folder / "source/mm/swap.c").exists()
    assert not (fake_linux.build_folder / "source/mm/stray.c").exists()


def test_a_worktree_is_its_commit_and_what_differs(fake_linux: FakeLinux) -> None:
    commit = fake_linux.commit("v1")
    clean = fake_linux.build(directory="../tree")
    assert clean.commit == commit
    assert clean.label == f"tree {commit[:12]} (race.config)"
    (fake_linux.tree / "mm/new.c").write_text("int new;\n")
    changed = fake_linux.build(directory="../tree")
    assert changed.source == f"directory {fake_linux.tree} at {commit} with changes"
    assert changed.identity != clean.identity


def test_a_worktrees_time_stamps_do_not_count(fake_linux: FakeLinux) -> None:
    fake_linux.commit("v1")
    before = directory_state(fake_linux.tree, LINUX, WHERE).digest
    for path in fake_linux.tree.glob("mm/*.c"):
        os.utime(path, (1, 1))
    assert directory_state(fake_linux.tree, LINUX, WHERE).digest == before


def test_every_kind_of_change_counts(fake_linux: FakeLinux) -> None:
    fake_linux.commit("v1")
    tree = fake_linux.tree
    seen = {directory_state(tree, LINUX, WHERE).digest}
    for change in (
        lambda: _edit(fake_linux, "int memory_7;", "int edited;"),
        lambda: (tree / "mm/new.c").write_text("int new;\n"),
        lambda: (tree / "mm/new.c").write_text("int old;\n"),
        lambda: (tree / "mm/swap.c").chmod(0o755),
        lambda: (tree / "mm/swap.c").unlink(),
        lambda: fake_linux.commit("v2"),
    ):
        change()
        seen.add(directory_state(tree, LINUX, WHERE).digest)
    assert len(seen) == 7


def test_a_worktree_that_was_built_in(fake_linux: FakeLinux) -> None:
    (fake_linux.tree / ".gitignore").write_text(".*\n!.gitignore\n*.o\n/include/config/\n")
    fake_linux.commit("v1")
    (fake_linux.tree / "include/config").mkdir(parents=True)
    (fake_linux.tree / ".config").write_text("CONFIG_OLD=y\n")
    (fake_linux.tree / "mm/memory.o").write_text("old\n")
    fake_linux.build(directory="../tree")
    assert not (fake_linux.build_folder / "source/.config").exists()
    assert not (fake_linux.build_folder / "source/mm/memory.o").exists()


def test_a_directory_that_was_built_in_is_refused(fake_linux: FakeLinux) -> None:
    (fake_linux.tree / ".config").write_text("CONFIG_OLD=y\n")
    (fake_linux.tree / "arch/x86/include/generated").mkdir(parents=True)
    with pytest.raises(ConfigurationError) as caught:
        fake_linux.build(directory="../tree")
    message = str(caught.value)
    assert "has been built in (.config, arch/x86/include/generated there)" in message
    assert "make mrproper" in message
    assert "the source directory = " in message


def test_what_a_build_left_in_git_is_named(fake_linux: FakeLinux) -> None:
    (fake_linux.tree / "include/config").mkdir(parents=True)
    (fake_linux.tree / "include/config/auto.conf").write_text("CONFIG_OLD=y\n")
    (fake_linux.tree / ".config").write_text("CONFIG_OLD=y\n")
    fake_linux.commit("v1")
    with pytest.raises(ConfigurationError) as caught:
        fake_linux.build(directory="../tree")
    message = str(caught.value)
    assert "has what a build left in git itself" in message
    assert ".config, include/config/auto.conf: `git rm -r --cached` them" in message
    fake_linux.git("rm", "-qr", "--cached", ".config", "include")
    (fake_linux.tree / ".git/info/exclude").write_text(".config\n/include/\n")
    fake_linux.commit("v2")
    fake_linux.build(directory="../tree")


def test_a_directory_below_another_repository_is_not_its_worktree(
    fake_linux: FakeLinux, tmp_path: Path
) -> None:
    (tmp_path / "around").mkdir()
    outer = FakeLinux(fake_linux.cache, fake_linux.target, tmp_path / "around")
    shutil.copytree(fake_linux.tree, outer.tree / "linux")
    outer.commit("v1")
    assert directory_state(outer.tree / "linux", LINUX, WHERE).commit is None


def test_a_directory_that_is_no_kernels(fake_linux: FakeLinux, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"directory = .*there is no directory .*nowhere"):
        fake_linux.build(directory="nowhere")
    (tmp_path / "empty").mkdir()
    part = fake_linux.tree / "mm"
    for name in ("Makefile", "Kconfig"):
        (part / name).touch()
    with pytest.raises(ConfigurationError, match=r"no Linux tree: it has no init/main\.c"):
        fake_linux.build(directory="../tree/mm")
    with pytest.raises(ConfigurationError, match="no Linux tree: it has no Makefile"):
        fake_linux.build(directory="../empty")
    assert fake_linux.cached_kernels() == []


def test_a_change_while_it_is_copied(
    fake_linux: FakeLinux, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = directory_state(fake_linux.tree, LINUX, WHERE)
    copy = shutil.copy2

    def copy_and_edit(*arguments: object, **options: object) -> None:
        copy(*arguments, **options)
        (fake_linux.tree / "mm/swap.c").write_text("int other_than_before;\n")

    monkeypatch.setattr(directory_module.shutil, "copy2", copy_and_edit)
    (tmp_path / "into").mkdir()
    with pytest.raises(ConfigurationError, match="changed while it was copied"):
        copy_directory(state, LINUX, tmp_path / "into", tmp_path / "memory", WHERE, print)
