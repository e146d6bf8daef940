# SPDX-License-Identifier: BSD-2-Clause
"""Linux from source: trees, patches, configurations and the make that turns them into a kernel."""
