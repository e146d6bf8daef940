# SPDX-License-Identifier: BSD-2-Clause
"""One module for each command of the command line, with its `command`."""
