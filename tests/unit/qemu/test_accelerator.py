# SPDX-License-Identifier: BSD-2-Clause
"""KVM is used where a probe guest ran in time, and nowhere else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import ConfigurationError, ExitCode
from harness.progress import silent
from harness.qemu import accelerator
from harness.qemu.accelerator import KVM, TCG, choose_accelerator, kvm_works

SUCCESS = 85


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    kvm_works.cache_clear()
    monkeypatch.setattr(accelerator.os, "access", lambda *_: True)
    yield
    kvm_works.cache_clear()


def qemu(folder: Path, tcg: str, kvm: str) -> str:
    program = folder / "qemu-system-x86_64"
    program.write_text(f'#!/bin/sh\ncase "$*" in *"-accel kvm"*) {kvm} ;; *) {tcg} ;; esac\n')
    program.chmod(0o755)
    return str(program)


def test_a_probe_that_ran(tmp_path: Path) -> None:
    binary = qemu(tmp_path, f"exit {SUCCESS}", f"exit {SUCCESS}")
    assert kvm_works(binary) == (True, "")
    assert choose_accelerator("auto", binary, silent) == KVM
    assert choose_accelerator("kvm", binary, silent) == KVM
    assert choose_accelerator("tcg", binary, silent) == TCG


@pytest.mark.parametrize(
    ("kvm", "why"),
    [
        ("exit 1", "ended QEMU with status 1"),
        ("exit 0", "ended QEMU with status 0"),
        ("exec sleep 60", "did not come to its end within 1.0 s"),
        (f"sleep 3; exit {SUCCESS}", "did not come to its end within 1.0 s"),
    ],
)
def test_a_probe_that_did_not(tmp_path: Path, kvm: str, why: str) -> None:
    binary = qemu(tmp_path, f"exit {SUCCESS}", kvm)
    works, reason = kvm_works(binary)
    assert not works
    assert why in reason
    said: list[str] = []
    assert choose_accelerator("auto", binary, said.append) == TCG
    assert "using TCG" in said[0]
    with pytest.raises(ConfigurationError, match="set it to auto or tcg") as caught:
        choose_accelerator("kvm", binary, silent)
    assert caught.value.exit_code == ExitCode.USAGE


def test_tcg_asked_for_runs_no_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "kvm_works", lambda _: pytest.fail("probed"))
    assert choose_accelerator("tcg", "qemu-system-x86_64", silent) == TCG


def test_other_architectures_have_no_probe(tmp_path: Path) -> None:
    works, why = kvm_works("qemu-system-aarch64")
    assert not works
    assert "x86-64" in why


def test_a_closed_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator.os, "access", lambda *_: False)
    assert kvm_works("qemu-system-x86_64") == (False, "/dev/kvm cannot be opened")
