# SPDX-License-Identifier: BSD-2-Clause
"""Workloads compiled in a FreeBSD image, seen from the host: what is sent there, what is kept.

The compiler itself is tried by tests/guest/freebsd.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.console.guest_channel import CommandResult
from harness.errors import ConfigurationError, InfrastructureError
from harness.paths import PROJECT
from harness.plan.load import load_guest
from harness.qemu.command import Boot
from harness.systems.base import GuestImage, WorkloadOrder
from harness.systems.freebsd import guest_compiler as module
from harness.systems.freebsd.first_boot import FirstBoot
from harness.systems.freebsd.guest_compiler import compile_in_image


@dataclass
class PretendedGuest:
    """In place of a guest: the compiler ends as told, and the program is its command line."""

    status: int = 0
    says: str = ""
    compiler: str = "/usr/bin/cc"
    boots: int = 0
    files: dict[str, str] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)

    @property
    def channel(self) -> "PretendedGuest":
        return self

    async def check(self, command: str) -> bytes:
        return b""

    async def put(self, file: Path, path: str, mode: int) -> None:
        self.files[path] = file.read_text()

    async def run(self, command: str) -> CommandResult:
        self.commands.append(command)
        return CommandResult(self.status, self.says.encode())

    async def get(self, path: str) -> bytes:
        return f"{path} of {self.commands[-1]}".encode()


@pytest.fixture
def guest(monkeypatch: pytest.MonkeyPatch) -> PretendedGuest:
    pretended = PretendedGuest()

    @asynccontextmanager
    async def started(*_: Any, **__: Any) -> AsyncIterator[PretendedGuest]:
        pretended.boots += 1
        yield pretended

    def prepared(*_: Any) -> SimpleNamespace:
        return SimpleNamespace(facts=FirstBoot("", "13.2-RELEASE", pretended.compiler, 1000))

    found = SimpleNamespace(identity="0" * 16, label="disk.raw")
    monkeypatch.setattr(module, "find_image", lambda *_: found)
    monkeypatch.setattr(module, "prepared_image", prepared)
    monkeypatch.setattr(module, "full_image", lambda *_: GuestImage(Boot(Path("/k")), (), "/w"))
    monkeypatch.setattr(module, "choose_accelerator", lambda *_: "tcg")
    monkeypatch.setattr(module, "started_guest", started)
    return pretended


@pytest.fixture
def order(tmp_path: Path) -> WorkloadOrder:
    (tmp_path / "churn.c").write_text("int main(void) { return 0; }\n")
    (tmp_path / "share.h").write_text("/* shared */\n")
    model = load_guest(PROJECT, "freebsd-amd64-full").model
    kernel = SimpleNamespace()
    return WorkloadOrder(tmp_path / "churn.c", model, True, ("-DX=1",), lambda: kernel)  # type: ignore[arg-type,return-value]


def compiled(order: WorkloadOrder) -> Path:
    cache = order.source.parent / "cache"
    return asyncio.run(compile_in_image(order, cache, lambda _: None))


def test_it_is_compiled_once_with_its_headers(order: WorkloadOrder, guest: PretendedGuest) -> None:
    program = compiled(order)
    assert sorted(guest.files) == ["/tmp/harness-src/churn.c", "/tmp/harness-src/share.h"]
    (command,) = guest.commands
    assert command.startswith("cc -o /tmp/harness-src/program.out /tmp/harness-src/churn.c ")
    assert {"-static", "-fno-pie", "-DX=1"} <= set(command.split())
    assert program.read_text().startswith("/tmp/harness-src/program.out of cc ")
    assert program.stat().st_mode & 0o111
    assert compiled(order) == program
    assert guest.boots == 1
    (order.source.parent / "share.h").write_text("/* another */\n")
    assert compiled(order) != program
    assert guest.boots == 2


def test_an_image_without_a_compiler_is_said_before_a_guest_is_booted(
    order: WorkloadOrder, guest: PretendedGuest
) -> None:
    guest.compiler = "none"
    with pytest.raises(
        ConfigurationError,
        match=r"the image disk\.raw has no compiler, cc\(1\); --compile host compiles on the host",
    ):
        compiled(order)
    assert guest.boots == 0


def test_without_a_kernel_nothing_can_be_booted(
    order: WorkloadOrder, guest: PretendedGuest
) -> None:
    with pytest.raises(ConfigurationError, match=r"no kernel to boot .* with; --compile host"):
        compiled(replace(order, kernel=None))
    assert guest.boots == 0


def test_what_the_compiler_says_is_said_with_the_source_s_path_here(
    order: WorkloadOrder, guest: PretendedGuest
) -> None:
    guest.status, guest.says = 1, "/tmp/harness-src/churn.c:1:1: error: no"
    with pytest.raises(ConfigurationError, match=f"{order.source}:1:1: error: no"):
        compiled(order)
    assert not list((order.source.parent / "cache").glob("programs/*"))


def test_too_little_memory_is_no_fault_of_the_source(
    order: WorkloadOrder, guest: PretendedGuest
) -> None:
    guest.status, guest.says = 1, "cc: error: unable to execute command: Killed"
    with pytest.raises(InfrastructureError, match=r"raise memory_mib .*; --compile host"):
        compiled(order)
