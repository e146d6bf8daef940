# SPDX-License-Identifier: BSD-2-Clause
"""QEMU: its command line, its process, and the ways of seeing into and steering the guest."""
