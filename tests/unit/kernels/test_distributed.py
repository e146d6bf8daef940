# SPDX-License-Identifier: BSD-2-Clause
"""A recipe's package first, its source as the way out."""

from pathlib import Path

import pytest

from harness.errors import ConfigurationError
from harness.kernels.apt import PackageUnavailableError
from harness.kernels.distributed import distributed_kernel
from harness.kernels.kernel import Kernel
from harness.plan.kernel import KernelRecipe, SourceRecipe

KERNEL = Kernel("linux-image-6", "6", "0" * 64, Path("vmlinuz"), None)
SOURCE = SourceRecipe(directory="/linux", config=[])


def found(recipe: KernelRecipe, said: list[str], *, gone: bool = False) -> Kernel | SourceRecipe:
    def fetch(name: str, suite: str) -> Kernel:
        assert (name, suite) == ("linux-image-6", "sid")
        if gone:
            raise PackageUnavailableError("no mirror has linux-image-6")
        return KERNEL

    return distributed_kernel(recipe, fetch, Path("folder"), Path("cache"), said.append)


def test_a_package_that_is_there_is_taken() -> None:
    said: list[str] = []
    assert found(KernelRecipe(package="linux-image-6", suite="sid", source=SOURCE), said) is KERNEL
    assert not said


def test_one_that_is_gone_leaves_the_source_and_that_is_said() -> None:
    said: list[str] = []
    recipe = KernelRecipe(package="linux-image-6", suite="sid", source=SOURCE)
    assert found(recipe, said, gone=True) == SOURCE
    assert said == ["no mirror has linux-image-6; building from source instead"]


def test_one_that_is_gone_without_a_source_is_its_error() -> None:
    with pytest.raises(PackageUnavailableError):
        found(KernelRecipe(package="linux-image-6", suite="sid"), [], gone=True)


def test_without_a_package_it_is_the_source() -> None:
    assert found(KernelRecipe(source=SOURCE), []) == SOURCE


def test_a_file_is_nobody_s_package() -> None:
    with pytest.raises(ConfigurationError, match="without file, package and source"):
        found(KernelRecipe(file="vmlinux"), [])
