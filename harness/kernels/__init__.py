# SPDX-License-Identifier: BSD-2-Clause
"""Kernels: where they come from, how they are patched and built, what their images hold."""
