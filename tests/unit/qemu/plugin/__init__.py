# SPDX-License-Identifier: BSD-2-Clause
"""Tests of the TCG plugin's Python side and of its build."""
