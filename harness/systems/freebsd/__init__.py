# SPDX-License-Identifier: BSD-2-Clause
"""FreeBSD: kernels from source, micro-guests, and what runs in them."""
