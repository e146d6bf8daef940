# SPDX-License-Identifier: BSD-2-Clause
"""Building the plugin: cached by content, and the host's faults told."""

import os
import shutil
from pathlib import Path

import pytest

from harness.errors import InfrastructureError
from harness.qemu.plugin import build, build_plugin

STRICT_FLAGS = ("-Werror", "-Wshadow", "-Wconversion")
"""Only here: a later compiler's new warning must not stop a user's build."""


def compiler(path: Path, version: str, compiles: str) -> str:
    """A stand-in for a C compiler; the output file is its last argument but one."""
    path.write_text(
        f'#!/bin/sh\nif [ "$1" = --version ]; then echo "{version}"; exit; fi\n{compiles}\n'
    )
    path.chmod(0o755)
    return str(path)


LINKS = 'while [ "$1" != -o ]; do shift; done; echo x >> "$2"; echo run >> {log}'


def test_compiles_once_for_a_compiler(tmp_path: Path) -> None:
    log = tmp_path / "log"
    first = compiler(tmp_path / "cc1", "cc 1.0", LINKS.format(log=log))
    second = compiler(tmp_path / "cc2", "cc 2.0", LINKS.format(log=log))
    cache = tmp_path / "cache" / "deep"
    built = build_plugin(cache, first)
    assert built == build_plugin(cache, first)
    assert log.read_text() == "run\n"
    assert build_plugin(cache, second) != built
    assert log.read_text() == "run\nrun\n"
    assert len(list(cache.iterdir())) == 2
    assert os.access(built, os.R_OK | os.X_OK)


def test_a_failed_build_leaves_nothing_and_says_why(tmp_path: Path) -> None:
    broken = compiler(tmp_path / "cc", "cc 1.0", "echo stdio.h: not found >&2; exit 1")
    with pytest.raises(InfrastructureError, match=r"stdio\.h: not found"):
        build_plugin(tmp_path / "cache", broken)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_missing_compiler_is_named(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match=r"no 'no-such-cc'.*apt install gcc"):
        build_plugin(tmp_path, "no-such-cc")


@pytest.mark.skipif(shutil.which("cc") is None, reason="no cc on this host")
def test_the_real_source_compiles_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "FLAGS", build.FLAGS + STRICT_FLAGS)
    assert build_plugin(tmp_path).read_bytes()[:4] == b"\x7fELF"
