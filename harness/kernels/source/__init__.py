# SPDX-License-Identifier: BSD-2-Clause
"""Kernels built from source, whatever their system: trees, patches, build folders, the cache."""
