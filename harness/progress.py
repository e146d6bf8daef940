# SPDX-License-Identifier: BSD-2-Clause
"""How slow steps tell the user what they are doing."""

from collections.abc import Callable

Say = Callable[[str], None]
"""Takes one line about what is happening now."""


def silent(_: str) -> None:
    """Says nothing."""
