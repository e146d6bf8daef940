# SPDX-License-Identifier: BSD-2-Clause
"""File-system images: the target's command, its program's folder, and what is said of mistakes."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from harness.errors import ConfigurationError
from harness.plan.needs import FilesystemImageModel
from harness.systems.filesystem_image import make_image


def model(*make: str, size_mib: int = 1) -> FilesystemImageModel:
    return FilesystemImageModel(
        name="disk", size_mib=size_mib, make=list(make), suite="bookworm", packages=["tools"]
    )


def root_with_program(folder: Path, script: str) -> Path:
    """An unpacked package whose usr/sbin/mkfs.test is `script`."""
    program = folder / "usr/sbin/mkfs.test"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return folder


def test_the_program_of_the_packages_fills_a_file_of_the_size_asked_for(tmp_path: Path) -> None:
    root = root_with_program(tmp_path, 'printf "$1" | dd of="$2" conv=notrunc status=none')
    image = make_image(model("mkfs.test", "label", "{image}", size_mib=2), [root])
    assert len(image) == 2 << 20
    assert image.startswith(b"label\0")
    assert not image[5:].strip(b"\0")


def test_libraries_of_the_packages_are_found_before_the_hosts(tmp_path: Path) -> None:
    root = root_with_program(
        tmp_path, 'printf %s "$LD_LIBRARY_PATH" | dd of="$1" conv=notrunc status=none'
    )
    libraries = tmp_path / "usr/lib/x86_64-linux-gnu"
    libraries.mkdir(parents=True)
    image = make_image(model("mkfs.test", "{image}"), [root])
    assert image.split(b"\0")[0].split(b":")[0] == str(libraries).encode()


def test_what_the_program_says_is_in_the_error(tmp_path: Path) -> None:
    root = root_with_program(tmp_path, "echo block size 3 is no power of two >&2; exit 1")
    with pytest.raises(ConfigurationError, match="status 1: block size 3 is no power of two"):
        make_image(model("mkfs.test", "{image}"), [root])


def test_a_program_that_is_in_no_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no program 'mkfs\.nowhere' in .*tools"):
        make_image(model("mkfs.nowhere", "{image}"), [tmp_path])


def test_an_image_of_another_size_is_refused(tmp_path: Path) -> None:
    root = root_with_program(tmp_path, 'echo longer >> "$1"')
    with pytest.raises(ConfigurationError, match="expected an image of 1048576 bytes"):
        make_image(model("mkfs.test", "{image}"), [root])


def test_the_command_must_name_the_image() -> None:
    with pytest.raises(ValidationError, match=r"write \{image\}"):
        model("mkfs.test", "disk.img")
