# SPDX-License-Identifier: BSD-2-Clause
"""A QEMU-backed harness that reproduces kernel races and says how often they reproduce."""

__version__ = "0.1.0"
