# SPDX-License-Identifier: BSD-2-Clause
"""What fits into a GNU Mach guest's memory, and what is refused."""

import struct
from pathlib import Path

import pytest

from harness.errors import ConfigurationError
from harness.kernels.kernel import Kernel
from harness.plan.guest import GuestModel
from harness.plan.load import load_guest
from harness.systems.gnumach.memory import loaded_end, require_room

MIB = 1 << 20
PROJECT = Path(__file__).resolve().parents[4]


def elf32(address: int, size: int) -> bytes:
    """An i386 executable with one segment and no sections (ELF gABI, System V ABI i386)."""
    header = struct.pack(
        "<16sHHIIIIIHHHHHH",
        b"\x7fELF\x01\x01\x01" + bytes(9), 2, 3, 1, address, 52, 0, 0, 52, 32, 1, 40, 0, 0,
    )  # fmt: skip
    segment = struct.pack("<8I", 1, 0, address + 0xC0000000, address, 84, size, 5, 4096)
    return header + segment


def guest(memory_mib: int, name: str = "gnumach-i686") -> GuestModel:
    model = load_guest(PROJECT, name).model
    machine = model.machine.model_copy(update={"memory_mib": memory_mib})
    return model.model_copy(update={"machine": machine})


def kernel(tmp_path: Path, size: int = MIB, more: int = 0) -> Kernel:
    image = tmp_path / "kernel"
    image.write_bytes(elf32(16 * MIB, size))
    with image.open("ab") as file:
        file.truncate(image.stat().st_size + more)
    return Kernel("gnumach test", "test", "0", image, None)


def program(tmp_path: Path, size: int) -> Path:
    path = tmp_path / "program"
    with path.open("wb") as file:
        file.truncate(size)
    return path


def test_where_a_kernel_ends() -> None:
    assert loaded_end(elf32(16 * MIB, 3 * MIB), "k") == 19 * MIB


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"#!/bin/sh\n", elf32(0, 0)[:52]])
def test_what_is_no_kernel_is_refused(data: bytes) -> None:
    with pytest.raises(ConfigurationError, match=r"^k: "):
        loaded_end(data, "k")


def test_the_guest_configs_have_room(tmp_path: Path) -> None:
    for name in ("gnumach-i686", "gnumach-x86_64"):
        model = load_guest(PROJECT, name).model
        require_room(kernel(tmp_path), program(tmp_path, 100_000), model)


@pytest.mark.parametrize(("name", "memory"), [("gnumach-x86_64", 256), ("gnumach-i686", 64)])
def test_too_little_memory_is_told_with_what_would_happen(
    tmp_path: Path, name: str, memory: int
) -> None:
    with pytest.raises(ConfigurationError, match=rf"memory_mib is {memory}.*double fault"):
        require_room(kernel(tmp_path), program(tmp_path, 1), guest(memory, name))


def test_a_program_that_does_not_fit_below_the_shim(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"90 MiB\).*vm_allocate"):
        require_room(kernel(tmp_path), program(tmp_path, 90 * MIB), guest(1024))


def test_files_that_do_not_fit_into_memory_above_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"memory_mib is 128.*takes 1[4-9]\d MiB"):
        require_room(kernel(tmp_path, more=40 * MIB), program(tmp_path, 10 * MIB), guest(128))
