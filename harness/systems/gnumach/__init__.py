# SPDX-License-Identifier: BSD-2-Clause
"""GNU Mach guests: kernels, the multiboot shim, and a freestanding bootstrap program."""
