# SPDX-License-Identifier: BSD-2-Clause
"""Estimates, comparisons and stop rules: pure functions of counts; docs/statistics.md explains."""
