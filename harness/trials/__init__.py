# SPDX-License-Identifier: BSD-2-Clause
"""Trials: from a ready guest to a verdict, and campaigns of them."""
