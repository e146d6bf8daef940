# SPDX-License-Identifier: BSD-2-Clause
"""Failpoints: one language for what happens at a place, and the mechanisms that carry it out."""
