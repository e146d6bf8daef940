# SPDX-License-Identifier: BSD-2-Clause
"""The guest's two lines: the console, kept as evidence, and the control channel."""
