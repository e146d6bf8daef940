# SPDX-License-Identifier: BSD-2-Clause
"""Where the project's folders, the cache and the results are."""

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
"""The checkout: targets, guest configs and workloads are data beside the package."""


def project_folder() -> Path:
    """The folder that holds guest-configs/, failpoints/ and workloads/ (HARNESS_PROJECT)."""
    return Path(os.environ.get("HARNESS_PROJECT", PROJECT))


def cache_folder() -> Path:
    """Downloads and builds, all of which can be made again (HARNESS_CACHE, XDG_CACHE_HOME)."""
    if (own := os.environ.get("HARNESS_CACHE")) is not None:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "kernel-race-harness"


def results_folder() -> Path:
    """Campaigns (HARNESS_RESULTS)."""
    return Path(os.environ.get("HARNESS_RESULTS", project_folder() / "results"))
