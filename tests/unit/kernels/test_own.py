# SPDX-License-Identifier: BSD-2-Clause
"""A user's own kernel file: what it is, and what is no kernel of this guest."""

import struct
from pathlib import Path

import pytest

from harness.errors import ConfigurationError, UsageError
from harness.kernels.own import own_kernel

BANNER = b"Linux version 6.9.0-mine+ (me@here) #1\0"
MACHINES = {"x86_64": 62, "arm64": 183, "ppc64le": 21}


def elf(arch: str) -> bytes:
    head = b"\x7fELF\x02\x01\x01" + b"\0" * 9
    rest = struct.pack("<HHIQQQIHHHHHH", 2, MACHINES[arch], 1, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0)
    return head + rest + BANNER


def image(folder: Path, data: bytes) -> Path:
    (folder / "bzImage").write_bytes(data)
    return folder / "bzImage"


def test_release_and_content_identify_it(tmp_path: Path) -> None:
    kernel = own_kernel(image(tmp_path, elf("x86_64")), None, "x86_64")
    assert (kernel.release, kernel.label) == ("6.9.0-mine+", "bzImage 6.9.0-mine+")
    other = own_kernel(image(tmp_path, elf("x86_64") + b"x"), None, "x86_64")
    assert kernel.identity != other.identity


def test_arm64_boots_an_image(tmp_path: Path) -> None:
    raw = b"\0" * 0x38 + b"ARM\x64" + BANNER
    assert own_kernel(image(tmp_path, raw), None, "arm64").release == "6.9.0-mine+"
    with pytest.raises(ConfigurationError, match="arch/arm64/boot/Image"):
        own_kernel(image(tmp_path, elf("arm64")), None, "arm64")


def test_a_kernel_of_another_architecture_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="kernel for ppc64le, and the guest is x86_64"):
        own_kernel(image(tmp_path, elf("ppc64le")), None, "x86_64")


@pytest.mark.parametrize("data", [b"", b"garbage" * 100, b"\x7fELF"])
def test_what_is_no_kernel_is_told(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ConfigurationError, match="bzImage"):
        own_kernel(image(tmp_path, data), None, "x86_64")


def test_modules_must_be_of_that_build(tmp_path: Path) -> None:
    file = image(tmp_path, elf("x86_64"))
    with pytest.raises(UsageError, match="no folder of modules"):
        own_kernel(file, tmp_path / "lib", "x86_64")
    wrong, right = tmp_path / "6.9.0", tmp_path / "6.9.0-mine+"
    wrong.mkdir()
    right.mkdir()
    with pytest.raises(ConfigurationError, match="modules of another build"):
        own_kernel(file, wrong, "x86_64")
    assert own_kernel(file, right, "x86_64").modules == right


def test_no_kernel_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no kernel"):
        own_kernel(tmp_path / "none", None, "x86_64")


def test_the_vmlinux_of_the_same_build_is_found(tmp_path: Path) -> None:
    boot = tmp_path / "arch/x86/boot"
    boot.mkdir(parents=True)
    file = image(boot, elf("x86_64"))
    assert own_kernel(file, None, "x86_64").vmlinux == file  # it is one itself
    raw = tmp_path / "arch/arm64/boot"
    raw.mkdir(parents=True)
    arm = image(raw, b"\0" * 0x38 + b"ARM\x64" + BANNER)
    assert own_kernel(arm, None, "arm64").vmlinux is None
    beside = tmp_path / "vmlinux"
    beside.write_bytes(elf("arm64").replace(b"#1", b"#2"))  # built once more since
    assert own_kernel(arm, None, "arm64").vmlinux is None
    with pytest.raises(ConfigurationError, match="is not of the same build"):
        own_kernel(arm, None, "arm64", beside)
    beside.write_bytes(elf("arm64"))
    assert own_kernel(arm, None, "arm64").vmlinux == beside
    assert own_kernel(arm, None, "arm64", beside).vmlinux == beside
    with pytest.raises(UsageError, match="there is no vmlinux"):
        own_kernel(arm, None, "arm64", tmp_path / "none")
