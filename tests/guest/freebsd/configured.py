# SPDX-License-Identifier: BSD-2-Clause
"""What tests on a real FreeBSD are given by the environment, and how they are marked."""

import os

import pytest

SOURCE = os.environ.get("HARNESS_FREEBSD_SRC", "")
"""A FreeBSD source tree, or nothing."""
NO_SOURCE = "HARNESS_FREEBSD_SRC does not name a FreeBSD source tree"


def freebsd_marks(runs: bool, missing: str) -> list[pytest.MarkDecorator]:
    """The marks of a module whose tests run, or are skipped because of what is missing."""
    return [
        pytest.mark.guest,
        pytest.mark.freebsd,
        pytest.mark.slow,
        pytest.mark.timeout(3600),
        pytest.mark.skipif(not runs, reason=f"{missing} (docs/freebsd.md)"),
    ]
