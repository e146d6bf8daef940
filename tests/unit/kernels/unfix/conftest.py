# SPDX-License-Identifier: BSD-2-Clause
"""What the tests of binary patches share."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from marked_kernel import PATCH, build_kernel

from harness.kernels.unfix import BinaryPatch


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., bytes]:
    """Builds the kernel: `walker` is the register it walks with, `mask` the mark's bit."""
    if shutil.which("gcc") is None or shutil.which("ld") is None:
        pytest.skip("no gcc and binutils on this host")

    def builder(walker: str = "rbx", mask: str = "1", debug: bool = True) -> bytes:
        return build_kernel(tmp_path, walker, mask, debug)

    return builder


@pytest.fixture
def patch() -> BinaryPatch:
    """The description that takes the marks out."""
    return BinaryPatch.model_validate(PATCH)
