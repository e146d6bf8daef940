# SPDX-License-Identifier: BSD-2-Clause
"""A target's kernel recipe carried out: a file, else its package, else its source."""

from pathlib import Path

from harness.errors import ConfigurationError
from harness.kernels.apt import PackageUnavailableError
from harness.kernels.kbuild.builder import linux_builder
from harness.kernels.kernel import Kernel
from harness.kernels.own import own_kernel
from harness.kernels.packaged import packaged_kernel
from harness.kernels.source.build import built_kernel
from harness.kernels.unfix import patched_kernel
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
    if recipe.package is not None and recipe.suite is not None:
        try:
            kernel = packaged_kernel(recipe.package, recipe.suite, arch, cache, say)
        except PackageUnavailableError as error:
            if recipe.source is None:
                raise
            say(f"{error}; building from source instead")
        else:
            if recipe.binary_patch is None:
                return kernel
            return patched_kernel(kernel, folder / recipe.binary_patch, cache, say)
    if recipe.source is None:
        raise ConfigurationError("a kernel recipe without package and source")
    builder = linux_builder(recipe.source, arch, folder)
    return built_kernel(recipe.source, builder, folder, cache, say)
