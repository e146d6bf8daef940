# SPDX-License-Identifier: BSD-2-Clause
"""Places: what a user writes for a spot in a kernel or workload, resolved to addresses."""
