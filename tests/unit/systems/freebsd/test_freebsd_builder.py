# SPDX-License-Identifier: BSD-2-Clause
"""FreeBSD kernels from source: what is built, what is built again, and what is said of mistakes."""

import difflib
import shutil
from pathlib import Path

import pytest
from fake_freebsd import FakeFreeBSD

from harness.errors import ConfigurationError
from harness.kernels.source.process import BuildFailedError


def a_patch(freebsd: FakeFreeBSD, name: str, path: str, new: str) -> str:
    old = (freebsd.tree / path).read_text()
    lines = difflib.unified_diff(
        old.splitlines(True), new.splitlines(True), f"a/{path}", f"b/{path}"
    )
    freebsd.write(f"target/{name}", "".join(lines))
    return name


def test_a_kernel_comes_out_of_toolchain_and_kernel_build(freebsd: FakeFreeBSD) -> None:
    kernel = freebsd.build()
    assert [note.split()[0] for note in freebsd.notes] == [
        "bootstrapped", "kernel-toolchain", "buildkernel", "compiled", "compiled",
    ]  # fmt: skip
    assert kernel.release == "13.2-RELEASE"
    assert kernel.modules is None
    content = kernel.image.read_text()
    assert "options\tINVARIANTS\n" in content
    assert "options\tWITNESS\n" in content
    assert kernel.image.with_name("vmlinux").read_text() == content
    assert str(freebsd.folder / "llvm/bin/clang") in freebsd.notes[1]


def test_the_same_recipe_is_not_built_twice(freebsd: FakeFreeBSD) -> None:
    first = freebsd.build()
    before = freebsd.notes
    assert freebsd.build() == first
    assert freebsd.notes == before


def test_a_patch_costs_the_files_that_it_changes_and_no_toolchain(freebsd: FakeFreeBSD) -> None:
    freebsd.build()
    patch = a_patch(freebsd, "bug.patch", "sys/vm/vm_fault.c", "int late;\n")
    kernel = freebsd.build(patch)
    assert freebsd.compiled == ["vm_fault", "vm_object", "vm_fault"]
    assert "int late;" in kernel.image.read_text()
    assert sum(note.startswith("kernel-toolchain") for note in freebsd.notes) == 1


def test_another_target_takes_the_kept_tools(freebsd: FakeFreeBSD) -> None:
    freebsd.build()
    shutil.copytree(freebsd.target, freebsd.folder / "other")
    shutil.rmtree(freebsd.folder / "cache/kernels")
    moved = FakeFreeBSD(freebsd.folder)
    moved.target.rename(freebsd.folder / "first")
    (freebsd.folder / "other").rename(moved.target)
    shutil.rmtree(next((freebsd.folder / "cache/builds").glob("*[!k]")))
    moved.build()
    assert sum(note.startswith("kernel-toolchain") for note in freebsd.notes) == 1
    (kept,) = (freebsd.folder / "cache/toolchains").iterdir()
    assert not (kept / "tmp/obj-tools").exists(), "objects of the tools are not needed again"


def test_architectures_have_tools_and_kernels_of_their_own(freebsd: FakeFreeBSD) -> None:
    amd64, arm64 = freebsd.build(), freebsd.build(arch="arm64")
    assert amd64.identity != arm64.identity
    assert "device\tpl011" in arm64.image.read_text()
    assert len(list((freebsd.folder / "cache/toolchains").iterdir())) == 2


def test_the_first_error_is_shown_and_the_patch_blamed(freebsd: FakeFreeBSD) -> None:
    patch = a_patch(freebsd, "bug.patch", "sys/vm/vm_fault.c", "broken\n")
    with pytest.raises(ConfigurationError, match=r"error: unknown type[\s\S]*target's patch"):
        freebsd.build(patch)


def test_an_error_that_no_patch_made_is_the_hosts(freebsd: FakeFreeBSD) -> None:
    freebsd.write("src/sys/vm/vm_map.c", "broken\n")
    with pytest.raises(BuildFailedError, match=r"make buildkernel failed[\s\S]*error: unknown"):
        freebsd.build()


def test_a_tree_that_is_too_old_is_refused_before_anything_is_built(freebsd: FakeFreeBSD) -> None:
    (freebsd.tree / "tools/build/make.py").unlink()
    with pytest.raises(ConfigurationError, match=r"before release 13.*build_in.*make\.py"):
        freebsd.build()
    assert freebsd.notes == []


def test_an_option_that_the_tree_has_not_is_named_with_its_line(freebsd: FakeFreeBSD) -> None:
    freebsd.write("target/race.conf", "# none\noptions NO_SUCH_THING=3\n")
    with pytest.raises(ConfigurationError, match=r"race\.conf:2: options NO_SUCH_THING"):
        freebsd.build()
    assert freebsd.notes == []


def test_a_cache_whose_path_has_a_space_is_refused(tmp_path: Path, freebsd: FakeFreeBSD) -> None:
    freebsd.folder.joinpath("cache").mkdir()
    spaced = tmp_path / "with space"
    shutil.copytree(freebsd.folder, spaced, ignore=shutil.ignore_patterns("with space"))
    with pytest.raises(ConfigurationError, match="no path with a space"):
        FakeFreeBSD(spaced).build()


def test_a_build_folder_without_its_tools_gets_them_again(freebsd: FakeFreeBSD) -> None:
    freebsd.build()
    for tools in (freebsd.folder / "cache/builds").glob("*/source/objects/**/tmp"):
        shutil.rmtree(tools)
    freebsd.write("target/race.conf", "options WITNESS\noptions FDT\n")
    freebsd.build()
    assert sum(note.startswith("kernel-toolchain") for note in freebsd.notes) == 1
