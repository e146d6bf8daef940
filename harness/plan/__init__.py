# SPDX-License-Identifier: BSD-2-Clause
"""What shall run: guest configs and targets as validated data."""
