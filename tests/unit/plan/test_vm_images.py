# SPDX-License-Identifier: BSD-2-Clause
"""Guests that run an operating system's own VM image: their config, and images of the user's."""

import re
import shutil
from pathlib import Path

import pytest

from harness.errors import ConfigurationError, UsageError
from harness.paths import PROJECT
from harness.plan.guest import ImageModel
from harness.plan.load import chosen_guest, load_guest, load_target
from harness.trials.prepare import Request
from harness.trials.recorded import recorded_request

FULL = "freebsd-amd64-full"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(PROJECT / "guest-configs", tmp_path / "guest-configs")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "micro", "file"),
    [
        (FULL, "freebsd-amd64", "FreeBSD-13.2-RELEASE-amd64.qcow2.xz"),
        ("freebsd-arm64-full", "freebsd-arm64", "FreeBSD-13.2-RELEASE-arm64-aarch64.qcow2.xz"),
    ],
)
def test_the_config_has_an_image_and_runs_the_micro_guest_s_targets(
    name: str, micro: str, file: str
) -> None:
    guest = load_guest(PROJECT, name)
    assert guest.model.is_full_image
    assert guest.model.compiles
    assert guest.known_as == micro
    assert guest.model.arch == load_guest(PROJECT, micro).model.arch
    assert guest.model.image is not None
    assert guest.model.image.url is not None
    assert guest.model.image.url.rpartition("/")[2] == file
    assert name not in load_target(PROJECT, "freebsd-cow-valid").model.guests


def test_workloads_are_compiled_in_it() -> None:
    target = load_target(PROJECT, "freebsd-cow-valid")
    request = Request(target, load_guest(PROJECT, FULL), PROJECT, Path("/nowhere"))
    assert request.compile_where == "guest"
    assert request.compiling_guest == request.guest.model
    micro = Request(target, load_guest(PROJECT, "freebsd-amd64"), PROJECT, Path("/nowhere"))
    assert micro.compile_where == "host"


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ("", "expected `file` or `url`, one of them"),
        ('url = "https://x/y"\nfile = "/z"', "expected `file` or `url`, one of them"),
        ('file = "here/disk.raw"', "`file` must be an absolute path, found 'here/disk.raw'"),
        ('url = "ftp://x/y"', "image.url: String should match pattern"),
        ('url = "https://x/y"\nsha256 = "12"', "image.sha256: String should match pattern"),
        ('url = "https://x/y"\nsha512 = "12"', "there is no such key; did you mean sha256"),
    ],
)
def test_bad_images(project: Path, image: str, says: str) -> None:
    file = project / "guest-configs" / f"{FULL}.toml"
    file.write_text(re.sub(r"(?s)\[image\].*", f"[image]\n{image}\n", file.read_text()))
    with pytest.raises(ConfigurationError, match=says):
        load_guest(project, FULL)


def test_an_image_is_freebsd_s_only(project: Path) -> None:
    file = project / "guest-configs/linux-x86_64.toml"
    file.write_text(f'{file.read_text()}\n[image]\nurl = "https://x/y"\n')
    with pytest.raises(ConfigurationError, match=r"\[image\] is for FreeBSD"):
        load_guest(project, "linux-x86_64")


@pytest.mark.parametrize("name", ["freebsd-amd64", FULL])
def test_an_image_of_the_user_s(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk.raw").touch()
    monkeypatch.chdir(tmp_path)
    guest = chosen_guest(PROJECT, name, "disk.raw")
    assert guest.name == FULL
    assert guest.model.image == ImageModel(file=str(tmp_path / "disk.raw"))
    guest = chosen_guest(PROJECT, name, "HTTPS://host/disk.raw".lower(), "0" * 64)
    assert guest.model.image == ImageModel(url="https://host/disk.raw", sha256="0" * 64)


@pytest.mark.parametrize(
    ("name", "image", "sha256", "says"),
    [
        (FULL, "/nowhere/disk", None, "--image: there is no file /nowhere/disk"),
        (FULL, None, "0" * 64, "--image-sha256 says what --image must be: give both"),
        (FULL, "https://x/y", "12", "expected 64 hexadecimal digits .*found '12'"),
        ("linux-x86_64", "https://x/y", None, r"linux-x86_64-full runs no VM image: .*\[image\]"),
        ("gnumach-i686", "https://x/y", None, "no guest config has a full image for gnumach-i686"),
    ],
)
def test_images_that_cannot_be_chosen(
    name: str, image: str | None, sha256: str | None, says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        chosen_guest(PROJECT, name, image, sha256)


def test_a_recorded_campaign_keeps_its_image() -> None:
    image = ImageModel(url="https://host/disk.raw", sha256="0" * 64)
    plan = {
        "target": "freebsd-cow-valid", "guest": FULL, "with_failpoints": True, "chosen_arms": [],
        "image": image.model_dump(),
    }  # fmt: skip
    assert recorded_request(plan, PROJECT, Path("/nowhere")).guest.model.image == image
    before = recorded_request(plan | {"image": None}, PROJECT, Path("/nowhere"))
    assert before.guest.model == load_guest(PROJECT, FULL).model
