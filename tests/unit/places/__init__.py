# SPDX-License-Identifier: BSD-2-Clause
"""Tests of places; a package, so that its test files share `assembler`."""
