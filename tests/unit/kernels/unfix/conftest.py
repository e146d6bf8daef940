# SPDX-License-Identifier: BSD-2-Clause
"""What the tests of binary patches share."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from marked_kernel import PATCH, build_kernel

from harness.kernels.unfix import BinaryPatch


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., bytes]:
    """Builds the kernel, as `build_kernel` does."""
    if shutil.which("gcc") is None or shutil.which("ld") is None:
        pytest.skip("no gcc and binutils on this host")

    def builder(**how: Any) -> bytes:
        return build_kernel(tmp_path, **how)

    return builder


@pytest.fixture
def patch() -> BinaryPatch:
    """The description that takes the marks out."""
    return BinaryPatch.model_validate(PATCH)
