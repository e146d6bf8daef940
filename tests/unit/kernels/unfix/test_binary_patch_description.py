# SPDX-License-Identifier: BSD-2-Clause
"""Descriptions of binary patches: bad ones are named, and patched kernels are kept by content."""

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import ConfigurationError
from harness.kernels.kernel import Kernel
from harness.kernels.unfix import load_binary_patch, patched_kernel
from harness.plan.kernel import KernelRecipe

_TEXT = """
title = "no marks"
arch = "x86_64"
function = "mark"
label = "un-fixed"
fields = { marked = "item.marked" }
[[find]]
name = "marking"
code = '''
again: or byte ptr [%walker + $marked], $marked.mask
behind: ...
'''
[[edit]]
name = "no-marks"
start = "again"
to = "behind"
code = "nop"
[after]
never = ["or byte ptr [* + $marked], *"]
"""


def _write(folder: Path, text: str) -> Path:
    file = folder / "unfix.toml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "title: Field required"),
        ("title = ", "no TOML"),
        (_TEXT.replace('"x86_64"', '"vax"'), "arch"),
        (_TEXT.replace("item.marked", "marked"), "fields.marked"),
        (_TEXT.replace("never =", "nevr ="), "after.nevr"),
        (_TEXT.replace('to = "behind"', 'to = "Behind"'), "edit.0.to"),
    ],
)
def test_bad_description_is_named(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told) as refused:
        load_binary_patch(_write(tmp_path, text))
    assert str(tmp_path / "unfix.toml") in str(refused.value)


def test_missing_description_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no such file"):
        load_binary_patch(tmp_path / "unfix.toml")


def test_recipe_needs_a_package() -> None:
    with pytest.raises(ValueError, match="it goes with `package`"):
        KernelRecipe.model_validate(
            {
                "binary_patch": "unfix.toml",
                "source": {"git": "https://x", "ref": "v1", "config": "c"},
            }
        )
    with pytest.raises(ValueError, match="binary_patch"):
        KernelRecipe.model_validate(
            {"binary_patch": "../unfix.toml", "package": "p", "suite": "sid"}
        )


def test_patched_kernel_is_kept_with_its_changes(
    tmp_path: Path, build: Callable[..., bytes]
) -> None:
    image = tmp_path / "gnumach"
    image.write_bytes(build())
    kernel = Kernel("a kernel", "1.8", "0123", image, None)
    said: list[str] = []
    description = _write(tmp_path, _TEXT)

    first = patched_kernel(kernel, description, tmp_path / "cache", said.append)
    again = patched_kernel(kernel, description, tmp_path / "cache", said.append)

    assert first == again
    assert said == ["changing mark in a kernel: no marks"]
    assert first.label == "a kernel (un-fixed)"
    assert first.identity != kernel.identity
    changes = first.image.with_name("changes.txt").read_text()
    assert "- or byte ptr [rbx + 0x18], 0x1" in changes
    assert ": 80 -> 90" in changes
    changed = int(changes.splitlines()[1].split()[0])
    assert sum(" -> " in line for line in changes.splitlines()) == changed


def test_refusal_leaves_nothing_behind(tmp_path: Path, build: Callable[..., bytes]) -> None:
    image = tmp_path / "gnumach"
    image.write_bytes(build(mask="2"))
    kernel = Kernel("a kernel", "1.8", "0123", image, None)
    description = _write(tmp_path, _TEXT)

    with pytest.raises(ConfigurationError, match=r"unfix\.toml: mark in a kernel: the code is not"):
        patched_kernel(kernel, description, tmp_path / "cache", lambda text: None)

    assert not list((tmp_path / "cache" / "kernels").iterdir())
