# SPDX-License-Identifier: BSD-2-Clause
"""What commands take where nothing is said."""

DEFAULT_TARGET = "linux-swapin-aba"
