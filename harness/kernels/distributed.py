# SPDX-License-Identifier: BSD-2-Clause
"""The distribution's package of a recipe, and whether a source is to be built in its place."""

from collections.abc import Callable
from pathlib import Path

from harness.errors import ConfigurationError
from harness.kernels.apt import PackageUnavailableError
from harness.kernels.kernel import Kernel
from harness.kernels.unfix import patched_kernel
from harness.plan.kernel import KernelRecipe, SourceRecipe
from harness.progress import Say


def distributed_kernel(
    recipe: KernelRecipe, fetch: Callable[[str, str], Kernel], folder: Path, cache: Path, say: Say
) -> Kernel | SourceRecipe:
    """The kernel that `fetch` has for the recipe's package and suite, its binary patch applied.

    Where the recipe names no package, or no mirror has it any more, which is said, its source is
    to be built: that is the result then. Raises HarnessError, where there is none either.
    """
    if recipe.package is not None and recipe.suite is not None:
        try:
            kernel = fetch(recipe.package, recipe.suite)
        except PackageUnavailableError as error:
            if recipe.source is None:
                raise
            say(f"{error}; building from source instead")
        else:
            if recipe.binary_patch is None:
                return kernel
            return patched_kernel(kernel, folder / recipe.binary_patch, cache, say)
    if recipe.source is None:
        raise ConfigurationError("a kernel recipe without file, package and source")
    return recipe.source
