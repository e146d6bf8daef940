# SPDX-License-Identifier: BSD-2-Clause
"""What each system says where this host lacks the tools for its guests."""

import platform
from pathlib import Path

import pytest
from running import PROJECT

from harness.kernels import toolchain
from harness.kernels.toolchain import CROSS_COMPILERS
from harness.plan.load import guest_names, load_guest
from harness.systems.registry import SYSTEMS


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of PATH, empty."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("CC", raising=False)
    toolchain._has_library.cache_clear()
    return folder


def install(folder: Path, name: str, prints: str = "") -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\necho {prints}\n")
    program.chmod(0o755)


def said(name: str) -> str | None:
    guest = load_guest(PROJECT, name).model
    return SYSTEMS[guest.system].missing_tools(guest)


def test_on_a_bare_host_every_guest_lacks_something(programs: Path) -> None:
    for name in guest_names(PROJECT):
        assert "install" in (said(name) or ""), name


@pytest.mark.parametrize("name", ["gnumach-i686", "gnumach-x86_64"])
def test_mach_s_freestanding_programs_need_no_c_library(programs: Path, name: str) -> None:
    cross = CROSS_COMPILERS["x86_64"]
    native = platform.machine() == cross.machine
    message = said(name) or ""
    assert ("package gcc" if native else cross.packages[0]) in message
    assert "libc6-dev" not in message
    install(programs, "cc" if native else cross.program, "libc.a")
    assert said(name) is None


def test_a_linux_guest_needs_the_library_too(programs: Path) -> None:
    cross = CROSS_COMPILERS["arm64"]
    if platform.machine() == cross.machine:
        pytest.skip("on this host arm64 needs no cross compiler")
    install(programs, cross.program, "libc.a")
    assert "libc6-dev-arm64-cross" in (said("linux-arm64") or "")
    toolchain._has_library.cache_clear()
    install(programs, cross.program, "/usr/lib/libc.a")
    assert said("linux-arm64") is None
    assert "qemu-img" in (said("linux-arm64-full") or ""), "a full image has a disk"


def test_freebsd_is_built_with_clang(programs: Path) -> None:
    for name in ("cc", "c++", "cpp", "patch", "tar", "strip", "xz"):
        install(programs, name)
    assert "clang" in (said("freebsd-amd64") or "")
