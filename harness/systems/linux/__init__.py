# SPDX-License-Identifier: BSD-2-Clause
"""Linux: its micro-guest image, modules and init."""
