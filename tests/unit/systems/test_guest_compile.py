# SPDX-License-Identifier: BSD-2-Clause
"""What went wrong when a compiler in a guest ended: whose fault it was, and what to do."""

from pathlib import Path

import pytest
from running import PROJECT

from harness.errors import ConfigurationError, GuestError, HarnessError, InfrastructureError
from harness.plan.load import load_guest
from harness.systems.base import WorkloadOrder
from harness.systems.guest_compile import failure, keep_program

ROOM = "raise memory_mib of [userland.compiler] (now 768)"


@pytest.fixture
def order(tmp_path: Path) -> WorkloadOrder:
    return WorkloadOrder(tmp_path / "tool.c", load_guest(PROJECT, "linux-x86_64").model)


@pytest.mark.parametrize(
    ("status", "said", "kind", "told"),
    [
        (1, "/tmp/src/tool.c:2:1: error: what is this", ConfigurationError, "tool.c:2:1: error"),
        (1, "/tmp/src/own.h:9:1: error: no", ConfigurationError, "own.h:9:1"),
        (1, "as: /tmp/x.o: No space left on device", InfrastructureError, "memory_mib"),
        (1, "cc1: out of memory allocating 9 bytes", InfrastructureError, "now 768"),
        (1, "/tmp: write failed, filesystem is full\nno space left on device",
         InfrastructureError, "memory_mib"),
        (4, "gcc: fatal error: Killed signal terminated program cc1", InfrastructureError, "raise"),
        (137, "Killed", InfrastructureError, "--compile host"),
        (127, "chroot: can't execute '/usr/bin/gcc'", GuestError, "--compile host"),
        (127, "sh: cc: not found", GuestError, "cc: not found"),
    ],
)  # fmt: skip
def test_whose_fault_it_was(
    order: WorkloadOrder, status: int, said: str, kind: type[HarnessError], told: str
) -> None:
    error = failure(order, status, said, "/tmp/src", ROOM)
    assert type(error) is kind
    assert told in str(error)
    assert "/tmp/src/" not in str(error)
    if kind is ConfigurationError:
        assert str(error).startswith(f"{order.source} does not compile")
        assert f"{order.source.parent}/" in str(error).partition("\n")[2]


def test_a_program_is_kept_whole_and_executable(tmp_path: Path) -> None:
    program = keep_program(tmp_path / "programs" / "tool", b"\x7fELF")
    assert program.read_bytes() == b"\x7fELF"
    assert program.stat().st_mode & 0o777 == 0o755
    assert [file.name for file in program.parent.iterdir()] == ["tool"]
