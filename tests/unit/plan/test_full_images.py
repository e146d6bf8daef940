# SPDX-License-Identifier: BSD-2-Clause
"""Guests that are like others, and full images among them."""

import shutil
from pathlib import Path

import pytest
from running import PROJECT

from harness.errors import ConfigurationError, UsageError
from harness.plan.listing import list_targets
from harness.plan.load import full_image_like, load_guest, load_target

FULL = "linux-x86_64-full"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for folder in ("guest-configs", "failpoints"):
        shutil.copytree(PROJECT / folder, tmp_path / folder)
    return tmp_path


def test_a_target_is_listed_on_guests_like_its_own() -> None:
    listed = list_targets(PROJECT, lambda guest: None)
    rows = [row for row in listed if row.target == "linux-swapin-aba"]
    by_guest = {row.guest: row for row in rows}
    assert by_guest[FULL].kernels == by_guest["linux-x86_64"].kernels
    assert by_guest[FULL].arms == by_guest["linux-x86_64"].arms
    target = load_target(PROJECT, "linux-swapin-aba").model
    assert FULL not in target.guests, "the target does not know of it"
    assert load_guest(PROJECT, FULL).known_as == "linux-x86_64"
    assert load_guest(PROJECT, "linux-x86_64").known_as == "linux-x86_64"


def test_the_full_image_of_a_guest() -> None:
    assert full_image_like(PROJECT, "linux-x86_64") == FULL
    assert full_image_like(PROJECT, FULL) == FULL
    assert full_image_like(PROJECT, "linux-arm64") == "linux-arm64-full"
    with pytest.raises(UsageError, match="there is no guest 'linux-x86'"):
        full_image_like(PROJECT, "linux-x86")


def test_a_guest_without_a_full_image(project: Path) -> None:
    (project / "guest-configs" / f"{FULL}.toml").unlink()
    with pytest.raises(
        UsageError, match=r"full image for linux-x86_64; there are: .*linux-arm64-f"
    ):
        full_image_like(project, "linux-x86_64")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("size_mib = 512", "size_mib = 0", "userland.root.size_mib: .*greater than or equal to 1"),
        ("size_mib = 512", "", "userland.root.size_mib: Field required"),
        ("[userland.root]", "[userland.rot]", "there is no such key; did you mean root"),
        ('like = "linux-x86_64"', 'like = "Linux!"', "like: String should match pattern"),
        ('like = "linux-x86_64"', 'like = "linux-x86"', "like: there is no guest 'linux-x86'; did"),
    ],
)
def test_bad_configs(project: Path, old: str, new: str, says: str) -> None:
    file = project / "guest-configs" / f"{FULL}.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    with pytest.raises(ConfigurationError, match=says):
        load_guest(project, FULL)
