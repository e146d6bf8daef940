# SPDX-License-Identifier: BSD-2-Clause
"""Fixtures for tests of many rooms."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from running import PROJECT, Edit, Harness, make_project

settings.register_profile("house", deadline=None)  # a loaded host is no failure
settings.load_profile("house")
# whoever runs the tests in the background has SIGINT ignored, and so would what they start
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Harness]:
    """The harness in this checkout, with results of its own."""
    harness = Harness(PROJECT, tmp_path / "results")
    yield harness
    for process in harness.qemus():
        process.send_signal(signal.SIGKILL)


@pytest.fixture
def chaos(tmp_path: Path) -> Iterator[Callable[..., Harness]]:
    """Makes a harness in a project whose only target is `chaos`, changed by edits."""
    made: list[Harness] = []

    def make(*edits: Edit) -> Harness:
        folder = tmp_path / f"project-{len(made)}"
        made.append(Harness(make_project(folder, *edits), folder / "results"))
        return made[-1]

    yield make
    for harness in made:
        for process in harness.qemus():
            process.send_signal(signal.SIGKILL)
