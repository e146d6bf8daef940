# SPDX-License-Identifier: BSD-2-Clause
"""File-system images as targets name them."""

import tomllib
from typing import Any

import pytest
from pydantic import ValidationError

from harness.paths import PROJECT
from harness.plan.target import TargetModel


@pytest.fixture
def target() -> dict[str, Any]:
    """The one target that has an image, as its file says it."""
    file = PROJECT / "failpoints" / "linux-iomap-migrate" / "target.toml"
    return tomllib.loads(file.read_text())


def test_two_images_of_one_name_are_refused(target: dict[str, Any]) -> None:
    target["userland"]["image"] *= 2
    with pytest.raises(ValidationError, match=r"two userland\.image tables are named 'xfs-64k-p"):
        TargetModel.model_validate(target)


def test_a_misspelt_key_is_named(target: dict[str, Any]) -> None:
    target["userland"]["image"][0]["size"] = 16
    with pytest.raises(ValidationError, match=r"userland\.image\.0\.size"):
        TargetModel.model_validate(target)
