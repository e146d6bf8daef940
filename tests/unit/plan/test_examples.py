# SPDX-License-Identifier: BSD-2-Clause
"""Tests of the targets that the documentation and the guest tests come with."""

import shutil
from pathlib import Path

import pytest
from running import PROJECT

from harness.plan.load import load_target

TARGETS = [*sorted((PROJECT / "docs/examples").iterdir()), PROJECT / "tests/guest/inside"]


@pytest.mark.parametrize("folder", TARGETS, ids=lambda folder: folder.name)
def test_an_example_is_a_target(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "failpoints" / folder.name
    target.mkdir(parents=True)
    shutil.copy(folder / "target.toml", target)
    model = load_target(tmp_path, folder.name).model
    assert {arm.name for arm in model.arm} >= {"buggy", "fixed"}
