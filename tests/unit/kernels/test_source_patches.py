# SPDX-License-Identifier: BSD-2-Clause
"""Patches: what they change, and why one does not apply."""

import difflib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import ConfigurationError
from harness.kernels.source.patches import apply_patches, parse_patch

_OLD = [f"line {number}" for number in range(1, 41)]
_lines = st.lists(st.sampled_from(["", "int a;", "-- ", "+++ b/x", "--- a/x", "@@ -1 +1 @@", "}"]))


def _diff(old: list[str], new: list[str], path: str = "mm/memory.c") -> str:
    lines = difflib.unified_diff(old, new, f"a/{path}", f"b/{path}", lineterm="")
    return "".join(f"{line}\n" for line in lines)


def _tree(folder: Path, lines: list[str], path: str = "mm/memory.c") -> Path:
    tree = folder / "tree"
    (tree / path).parent.mkdir(parents=True, exist_ok=True)
    (tree / path).write_text("".join(f"{line}\n" for line in lines))
    return tree


def _patch(folder: Path, text: str) -> Path:
    file = folder / "fix.patch"
    file.write_text(text)
    return file


@given(_lines, _lines)
def test_every_difference_is_read_whole(old: list[str], new: list[str]) -> None:
    if old == new:
        return
    text = "From: somebody\n\n" + _diff(old, new) + "-- \n2.39.2\n"
    (change,) = parse_patch(text, "fix.patch")
    assert change.path == "mm/memory.c"
    for hunk in change.hunks:
        at = max(hunk.start - 1, 0)
        assert tuple(old[at : at + len(hunk.old)]) == hunk.old


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.sampled_from(_OLD), min_size=1))
def test_a_difference_applied_gives_the_new_file(
    tmp_path_factory: pytest.TempPathFactory, new: list[str]
) -> None:
    if new == _OLD:
        return
    folder = tmp_path_factory.mktemp("patch")
    tree = _tree(folder, _OLD)
    patched = apply_patches(tree, [_patch(folder, _diff(_OLD, new))], folder / "out")
    assert patched.names == {"mm/memory.c"}
    assert (patched.folder / "mm/memory.c").read_text().splitlines() == new
    assert (tree / "mm/memory.c").read_text().splitlines() == _OLD


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        assert parse_patch(text, "fix.patch")
    except ConfigurationError as error:
        assert str(error).startswith("fix.patch:")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no unified diff"),
        ("--- a/x\n+++ b/x\n", "no hunk"),
        ("@@ -1 +1 @@\n-a\n+b\n", "a hunk without"),
        ("--- a/../../etc/passwd\n+++ b/../../etc/passwd\n@@ -1 +1 @@\n-a\n+b\n", "in the tree"),
        ("--- /etc/passwd\n+++ /etc/passwd\n@@ -1 +1 @@\n-a\n+b\n", "in the tree"),
        ("--- memory.c\n+++ memory.c\n@@ -1 +1 @@\n-a\n+b\n", "such as a/mm/memory.c"),
        ("--- a/x\n+++ b/x\n@@ -1,3 +1 @@\n-a\n+b\n", "ends inside this hunk"),
        ("--- a/x\n+++ b/x\n@@ -1,2 +1 @@\n-a\n*b\n", "expected a line of the hunk"),
        ("diff --git a/x b/y\nrename from x\nrename to y\n", "no-renames"),
        ("diff --git a/x b/x\nGIT binary patch\n", "only changes of text files"),
    ],
)
def test_what_cannot_be_applied_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        parse_patch(text, "fix.patch")


def test_lines_moved_in_the_file_are_followed(tmp_path: Path) -> None:
    new = [*_OLD[:20], "added", *_OLD[20:]]
    tree = _tree(tmp_path, ["first", *_OLD])
    patched = apply_patches(tree, [_patch(tmp_path, _diff(_OLD, new))], tmp_path / "out")
    assert (patched.folder / "mm/memory.c").read_text().splitlines() == ["first", *new]


def test_a_context_that_differs_is_refused_and_shown(tmp_path: Path) -> None:
    new = [*_OLD[:4], "changed 5", *_OLD[5:29], "changed 30", *_OLD[30:]]
    found = ["first", *_OLD[:31], "another", *_OLD[32:]]
    tree = _tree(tmp_path, found)
    with pytest.raises(ConfigurationError) as caught:
        apply_patches(tree, [_patch(tmp_path, _diff(_OLD, new))], tmp_path / "out")
    message = str(caught.value)
    assert "mm/memory.c: hunk 2 of 2, at line 27" in message
    assert "nearest are lines 28 to 34 (6 of 7 equal); line 33 differs" in message
    assert "expected: line 32\n    found:    another" in message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    tree = _tree(tmp_path, _OLD)
    patch = _patch(tmp_path, _diff(["a"], ["b"], "mm/nowhere.c"))
    with pytest.raises(ConfigurationError, match=r"mm/nowhere\.c, which this kernel does not have"):
        apply_patches(tree, [patch], tmp_path / "out")


def test_a_file_that_goes(tmp_path: Path) -> None:
    tree = _tree(tmp_path, ["a"])
    patch = _patch(tmp_path, "--- a/mm/memory.c\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n")
    patched = apply_patches(tree, [patch], tmp_path / "out")
    assert patched.names == {"mm/memory.c"}
    assert not (patched.folder / "mm/memory.c").exists()


def test_a_file_to_create_that_is_there(tmp_path: Path) -> None:
    tree = _tree(tmp_path, ["a"])
    patch = _patch(tmp_path, "--- /dev/null\n+++ b/mm/memory.c\n@@ -0,0 +1 @@\n+a\n")
    with pytest.raises(ConfigurationError, match=r"creates mm/memory\.c, which is there already"):
        apply_patches(tree, [patch], tmp_path / "out")
