# SPDX-License-Identifier: BSD-2-Clause
"""Binary patches: a fix taken out of a kernel that somebody else built, or refused."""

from harness.kernels.unfix.description import BinaryPatch, load_binary_patch
from harness.kernels.unfix.kernel import patched_kernel
from harness.kernels.unfix.patch import Change, Patched, apply_binary_patch

__all__ = [
    "BinaryPatch",
    "Change",
    "Patched",
    "apply_binary_patch",
    "load_binary_patch",
    "patched_kernel",
]
