# SPDX-License-Identifier: BSD-2-Clause
"""What is refused as a trial to run again."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path

import pytest
from fakes import Told, record

from harness.errors import UsageError
from harness.trials.replay import _record_of, replay_trial


def replay(trial: Path) -> None:
    asyncio.run(replay_trial(trial, trial, trial, Told()))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no trial's folder"),
        ("[1]", r"trial\.json is no trial's record: expected an object, found \[1\]"),
        ("{}", r"trial\.json is no trial's record: it has no arm, number, block, seed, start, v"),
        ('{"arm": "a", "number": 1, "block": 0, "seed": 7, "verdict": "void"}', "has no start$"),
    ],
)
def test_what_is_no_record_is_told(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "trial.json").write_text(text)
    with pytest.raises(UsageError, match=said):
        replay(tmp_path)


def test_a_folder_without_a_record_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no trial's folder"):
        replay(tmp_path)


def test_a_trial_s_own_record_is_taken(tmp_path: Path) -> None:
    (tmp_path / "trial.json").write_text(json.dumps(asdict(record())))
    assert _record_of(tmp_path)["seed"] == 7
