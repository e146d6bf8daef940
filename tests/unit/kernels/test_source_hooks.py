# SPDX-License-Identifier: BSD-2-Clause
"""Tests of the code that makes hooks usable in a tree."""

from pathlib import Path

import pytest

from harness.errors import ConfigurationError
from harness.kernels.kbuild.builder import LINUX
from harness.kernels.source.hooks import HookCode
from harness.kernels.source.patches import PatchedFiles
from harness.kernels.source.semantic import SemanticPatch

HOOK = SemanticPatch(Path("hook.cocci"), ("mm/a.c",), ())


@pytest.fixture
def code() -> HookCode:
    assert LINUX.hook_code is not None
    return LINUX.hook_code


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tree/lib").mkdir(parents=True)
    (tmp_path / "tree/lib/Makefile").write_text("obj-y := x.o\n\nifdef LATE\nobj-y += y.o\nendif\n")
    (tmp_path / "patched").mkdir()
    return tmp_path / "tree"


def patched(tree: Path, **files: str) -> PatchedFiles:
    folder = tree.parent / "patched"
    for name, text in files.items():
        file = folder / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return PatchedFiles(folder, frozenset(name.replace("__", "/") for name in files))


def with_include(code: HookCode, tree: Path, text: str) -> str:
    files = patched(tree, **{"mm__a.c": text})
    code.include_where_used(files, [HOOK])
    return (files.folder / "mm/a.c").read_text()


def test_code_is_added_and_the_tree_left_alone(code: HookCode, tree: Path) -> None:
    before = (tree / "lib/Makefile").read_text()
    files = code.add(tree, patched(tree))
    assert files.names == {"lib/fail_point.c", "include/linux/fail_point.h", "lib/Makefile"}
    assert (files.folder / "lib/Makefile").read_text() == before + "obj-y += fail_point.o\n"
    assert (tree / "lib/Makefile").read_text() == before
    assert "FAIL_POINT(name)" in (files.folder / "include/linux/fail_point.h").read_text()


def test_what_a_patch_did_to_the_makefile_stays(code: HookCode, tree: Path) -> None:
    files = code.add(tree, patched(tree, lib__Makefile="obj-y := patched.o"))
    text = (files.folder / "lib/Makefile").read_text()
    assert text == "obj-y := patched.o\nobj-y += fail_point.o\n"


def test_a_tree_with_such_a_file_is_refused(code: HookCode, tree: Path) -> None:
    (tree / "lib/fail_point.c").write_text("")
    with pytest.raises(ConfigurationError, match="semantic_patches"):
        code.add(tree, patched(tree))


def test_the_include_comes_behind_the_first_unconditional_one(code: HookCode, tree: Path) -> None:
    text = (
        "#define pr_fmt(x) x\n#ifdef A\n# include <a.h>\n#endif\n#include <b.h>\nFAIL_POINT(x);\n"
    )
    assert with_include(code, tree, text) == text.replace(
        "<b.h>\n", "<b.h>\n#include <linux/fail_point.h>\n"
    )


@pytest.mark.parametrize(
    "text",
    ["#include <b.h>\nint x;\n", "#include <linux/fail_point.h>\n\tFAIL_POINT_RETURN(x);\n"],
)
def test_a_file_that_needs_none_is_left_alone(code: HookCode, tree: Path, text: str) -> None:
    assert with_include(code, tree, text) == text


def test_a_file_without_includes_is_an_error(code: HookCode, tree: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"mm/a\.c: has a hook"):
        with_include(code, tree, "\tFAIL_POINT_CODE(x, y = 1);\n")


def test_another_file_is_another_digest(code: HookCode, tmp_path: Path) -> None:
    (tmp_path / "x.c").write_text("1")
    first = HookCode({"x.c": tmp_path / "x.c"}, {}, "", "").digest
    (tmp_path / "x.c").write_text("2")
    assert HookCode({"x.c": tmp_path / "x.c"}, {}, "", "").digest != first != code.digest
