# SPDX-License-Identifier: BSD-2-Clause
"""A target's kernel recipe carried out: a file, else its package, else its source."""

from pathlib import Path

from harness.kernels.distributed import distributed_kernel
from harness.kernels.kbuild.builder import linux_builder
from harness.kernels.kernel import Kernel
from harness.kernels.own import own_kernel
from harness.kernels.packaged import packaged_kernel
from harness.kernels.source.build import built_kernel
from harness.plan.kernel import KernelRecipe
from harness.progress import Say


def acquire_kernel(recipe: KernelRecipe, arch: str, folder: Path, cache: Path, say: Say) -> Kernel:
    """The kernel of a recipe; `folder` is where its config fragment and patches are.

    A package that no mirror has any more is replaced by the source recipe, which is said. Raises
    HarnessError.
    """
    if recipe.file is not None:
        modules = folder / recipe.modules if recipe.modules is not None else None
        vmlinux = folder / recipe.vmlinux if recipe.vmlinux is not None else None
        return own_kernel(folder / recipe.file, modules, arch, vmlinux)
    found = distributed_kernel(
        recipe,
        lambda name, suite: packaged_kernel(name, suite, arch, cache, say),
        folder,
        cache,
        say,
    )
    if isinstance(found, Kernel):
        return found
    return built_kernel(found, linux_builder(found, arch, folder), folder, cache, say)
