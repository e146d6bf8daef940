# SPDX-License-Identifier: BSD-2-Clause
"""Reports for people: the terminal, live and at the end."""
