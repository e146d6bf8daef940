# SPDX-License-Identifier: BSD-2-Clause
"""Linux from source: configurations and the make that turns a tree into a kernel."""
