# SPDX-License-Identifier: BSD-2-Clause
"""Finding clang and lld of one installation."""

from pathlib import Path

import pytest

from harness.errors import InfrastructureError
from harness.systems.freebsd.clang import find_clang

PROGRAMS = ("clang", "clang++", "clang-cpp", "ld.lld")


def install(folder: Path, version: str, *without: str) -> Path:
    """An installation of LLVM in `folder`; its clang."""
    folder.mkdir(parents=True)
    for name in set(PROGRAMS) - set(without):
        program = folder / name
        program.write_text(f"#!/bin/sh\necho clang version {version}\necho more\n")
        program.chmod(0o755)
    return folder / "clang"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_a_link_in_path_leads_to_its_installation(tmp_path: Path, path: Path) -> None:
    (path / "clang-14").symlink_to(install(tmp_path / "llvm-14", "14.0.6"))
    found = find_clang()
    assert found.folder == tmp_path / "llvm-14"
    assert found.version == "clang version 14.0.6"
    assert found.program("ld.lld") == str(tmp_path / "llvm-14/ld.lld")


def test_the_newest_one_is_taken_and_plain_clang_before_it(tmp_path: Path, path: Path) -> None:
    (path / "clang-14").symlink_to(install(tmp_path / "llvm-14", "14.0.6"))
    (path / "clang-16").symlink_to(install(tmp_path / "llvm-16", "16.0.0"))
    assert find_clang().version.endswith("16.0.0")
    (path / "clang").symlink_to(tmp_path / "llvm-14/clang")
    assert find_clang().version.endswith("14.0.6")


def test_the_recipe_may_name_one(tmp_path: Path, path: Path) -> None:
    (path / "clang").symlink_to(install(tmp_path / "llvm-16", "16.0.0"))
    named = install(tmp_path / "mine", "13.0.1")
    assert find_clang(str(named)).version.endswith("13.0.1")
    with pytest.raises(InfrastructureError, match="`clang-99`, which the recipe names, is not"):
        find_clang("clang-99")


def test_without_any_the_packages_are_named(path: Path) -> None:
    with pytest.raises(InfrastructureError, match=r"clang is not installed.*install clang lld"):
        find_clang()


def test_a_clang_without_its_linker_is_said(tmp_path: Path, path: Path) -> None:
    (path / "clang").symlink_to(install(tmp_path / "llvm-14", "14.0.6", "ld.lld"))
    with pytest.raises(InfrastructureError, match=r"there is no ld\.lld"):
        find_clang()
