# SPDX-License-Identifier: BSD-2-Clause
"""One folder per operating system: everything the harness knows of it."""
