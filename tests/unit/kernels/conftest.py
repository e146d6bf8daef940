# SPDX-License-Identifier: BSD-2-Clause
"""Fixtures of the tests of kernels."""

from pathlib import Path

import pytest
from fake_linux import FakeLinux, publish_package, write_tree

from harness.kernels.kbuild import builder


@pytest.fixture
def fake_linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeLinux:
    monkeypatch.setattr(builder, "require_tools", lambda compiler, arch: None)
    monkeypatch.setenv("CCACHE_DISABLE", "1")
    monkeypatch.delenv("CC", raising=False)
    tree = tmp_path / "tree"
    write_tree(tree)
    fake = FakeLinux(tmp_path / "cache", tmp_path / "linux-some-race", tree)
    fake.target.mkdir()
    fake.config("CONFIG_KASAN=y\n")
    publish_package(tree, fake.cache)
    return fake
