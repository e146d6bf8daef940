# SPDX-License-Identifier: BSD-2-Clause
"""The doctor names each missing thing with the command that mends it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from running import make_project

from harness import doctor
from harness.cli import cli
from harness.doctor import examine_host
from harness.qemu.accelerator import kvm_works


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(doctor, "kvm_works", lambda _: (False, "no KVM [here]"))
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HARNESS_RESULTS", str(tmp_path / "results"))
    kvm_works.cache_clear()
    return make_project(tmp_path / "project")


def run(project: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    monkeypatch.setenv("HARNESS_PROJECT", str(project))
    result = CliRunner().invoke(cli, ["doctor"], standalone_mode=False)
    assert result.exception is None
    return int(result.return_value), result.output


def packages(project: Path, *lines: str) -> None:
    (project / "scripts" / "host-packages").write_text("# comment\n\n" + "\n".join(lines) + "\n")


def test_missing_programs_files_and_modules(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages(
        host,
        "no-such-program   some-package   to do something",
        "file:/no/such/file other-package  to read",
        "python:no_such_mod python3-other  to import",
        "sh                dash           a shell",
    )
    status, text = run(host, monkeypatch)
    assert status == 4
    assert "missing no-such-program: not there (to do something)" in text
    for package in ("some-package", "other-package", "python3-other"):
        assert f"mend it with: apt-get install {package}" in text
    assert "ok      sh: /" in text


def test_what_only_some_guests_need_is_optional(
    host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages(host, "?no-such-qemu qemu-system-other guests elsewhere", "?sh dash a shell")
    status, text = run(host, monkeypatch)
    assert status == 0
    assert "note    no-such-qemu: not there (guests elsewhere)" in text
    assert "mend it with: apt-get install qemu-system-other, or make setup-all" in text
    assert "ok      sh: /" in text


def test_all_well(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages(host, "sh dash a shell")
    status, text = run(host, monkeypatch)
    assert status == 0
    assert "no KVM [here]; TCG is used" in text, "no markup, and no failure"
    assert "ok      guest linux-x86_64: valid" in text
    assert "ok      target chaos: valid" in text


def test_a_broken_target_is_told(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages(host, "sh dash a shell")
    target = host / "failpoints" / "chaos" / "target.toml"
    target.write_text(target.read_text().replace("[[symptom]]", "[[symptons]]"))
    status, text = run(host, monkeypatch)
    assert status == 4
    assert "missing target chaos:" in text
    assert "did you mean symptom?" in text


@pytest.mark.parametrize("which", ["HARNESS_CACHE", "HARNESS_RESULTS"])
def test_a_full_disk(host: Path, monkeypatch: pytest.MonkeyPatch, which: str) -> None:
    packages(host, "sh dash a shell")
    usage = doctor.shutil.disk_usage("/")
    little: Callable[[object], object] = lambda _: usage._replace(free=1 << 20)  # noqa: E731
    monkeypatch.setattr(doctor.shutil, "disk_usage", little)
    status, text = run(host, monkeypatch)
    assert status == 4
    assert "1 MiB free" in text
    assert f"set {which} elsewhere" in text


def test_an_unwritable_folder(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    packages(host, "sh dash a shell")
    findings = {finding.what: finding for finding in examine_host(host)}
    assert not findings["cache folder"].ok
    assert "not writable" in findings["cache folder"].found
