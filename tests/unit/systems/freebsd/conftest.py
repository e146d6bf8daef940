# SPDX-License-Identifier: BSD-2-Clause
"""A fake FreeBSD tree for each test."""

from pathlib import Path

import pytest
from fake_freebsd import FakeFreeBSD, make_fake


@pytest.fixture
def freebsd(tmp_path: Path) -> FakeFreeBSD:
    return make_fake(tmp_path)
