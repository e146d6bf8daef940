# SPDX-License-Identifier: BSD-2-Clause
"""The guide's example on a kernel of one's own, built with a hook as the guide says."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from running import PROJECT, Harness

from harness.kernels.kbuild.architecture import architecture
from harness.kernels.kbuild.requirements import missing_packages

FIRST_BUILD_SECONDS = 3600
CAMPAIGN_SECONDS = 900
TRIALS = 2

pytestmark = [
    pytest.mark.guest,
    pytest.mark.slow,
    pytest.mark.timeout(FIRST_BUILD_SECONDS + CAMPAIGN_SECONDS),
]


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> tuple[Harness, dict[str, Any]]:
    """Some trials of every arm: the harness that ran them, and the summary."""
    missing = [*missing_packages("gcc", architecture("x86_64"))]
    missing += ["spatch"] if shutil.which("spatch") is None else []
    if missing:
        pytest.skip(f"a kernel with hooks cannot be built here: {', '.join(missing)} missing")
    folder = tmp_path_factory.mktemp("own-kernel")
    project = folder / "project"
    for part in ("guest-configs", "workloads", "scripts"):
        shutil.copytree(PROJECT / part, project / part)
    shutil.copytree(PROJECT / "docs/examples/own-kernel", project / "failpoints/own-kernel")
    harness = Harness(project, folder / "results")
    done = harness.run(
        "repro", "own-kernel", "--arms", "all", "--trials", str(TRIALS), "--seed", "1", "--json",
        seconds=FIRST_BUILD_SECONDS + CAMPAIGN_SECONDS,
    )  # fmt: skip
    assert done.out, done.err
    return harness, done.document


def test_the_hook_makes_the_window_wide(campaign: tuple[Harness, dict[str, Any]]) -> None:
    harness, summary = campaign
    arms = summary["arms"]
    assert arms["buggy"]["reproduced"] == TRIALS
    # who is late by more than the reader sleeps has missed it
    assert arms["buggy"]["attempts"]["reproduced"] >= 0.5 * arms["buggy"]["attempts"]["carried_out"]
    for name in ("fixed", "held-before-the-read"):
        assert arms[name]["survived"] == TRIALS, name
        assert arms[name]["attempts"]["reproduced"] == 0, name
    for path, record in harness.finished().items():
        if Path(path).parent.name.startswith("buggy"):
            hook = json.loads(record)["settings"]["slow-reader"]
            assert (hook["setting"], hook["before"]) == ("sleep(20)", "off")
            assert hook["counters"]["fired"] >= 2 * 50  # two pages an attempt
            assert hook["counters"]["spun"] == 0
