# SPDX-License-Identifier: BSD-2-Clause
"""Score the parser on a directory of crash logs with expected titles in their headers."""
