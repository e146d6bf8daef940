# SPDX-License-Identifier: BSD-2-Clause
"""A campaign's folder: trials are in it whole or not at all, and it heals after a crash."""

import errno
import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest
from fakes import plan, record

from harness.errors import ExitCode, InfrastructureError, UsageError
from harness.trials import record as record_module
from harness.trials.ledger import open_ledger
from harness.trials.record import CampaignFolder, create_campaign, find_campaign


@pytest.fixture
def campaign(tmp_path: Path) -> CampaignFolder:
    return create_campaign(tmp_path, "race-guest", plan())


def finish(campaign: CampaignFolder, number: int, verdict: str = "survived") -> None:
    with open_ledger(campaign.ledger) as ledger:
        folder = campaign.start_trial("buggy", number)
        (folder / "console.log").write_bytes(b"\xff\x00evidence")
        campaign.finish_trial(folder, record(number=number, verdict=verdict), ledger)


def test_a_finished_trial_is_in_folder_and_ledger(campaign: CampaignFolder) -> None:
    finish(campaign, 1)
    folder = campaign.trials / "buggy-0001"
    assert (folder / "console.log").read_bytes() == b"\xff\x00evidence"
    assert json.loads((folder / "trial.json").read_bytes()) == asdict(record())
    assert campaign.records() == [record()]
    assert [path.name for path in campaign.trials.iterdir()] == ["buggy-0001"]


def test_finished_but_not_in_the_ledger_is_taken_in(campaign: CampaignFolder) -> None:
    finish(campaign, 1)
    finish(campaign, 2, "reproduced")
    whole = campaign.ledger.read_bytes()
    first = whole.index(b"\n")
    for size in (0, 1, first, first + 1, first + 2, len(whole) - 1):
        campaign.ledger.write_bytes(whole[:size])
        with open_ledger(campaign.ledger) as ledger:
            campaign.recover(ledger)
            campaign.recover(ledger)
        assert sorted(one.number for one in campaign.records()) == [1, 2]
        assert {one.verdict for one in campaign.records()} == {"survived", "reproduced"}


def test_under_way_is_removed(campaign: CampaignFolder) -> None:
    finish(campaign, 1)
    unfinished = campaign.start_trial("buggy", 2)
    (unfinished / "console.log").write_bytes(b"half")
    (unfinished / "trial.json").write_text("{}")
    with open_ledger(campaign.ledger) as ledger:
        campaign.recover(ledger)
        assert len(ledger.lines) == 1
    assert not unfinished.exists()


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", "3", "\0\0"])
def test_a_folder_that_is_no_trial_is_named(campaign: CampaignFolder, content: str | None) -> None:
    strange = campaign.trials / "buggy-0009"
    strange.mkdir()
    if content is not None:
        (strange / "trial.json").write_text(content)
    with (
        open_ledger(campaign.ledger) as ledger,
        pytest.raises(
            InfrastructureError, match=r"buggy-0009 is no trial's evidence.*move it away"
        ),
    ):
        campaign.recover(ledger)


@pytest.mark.parametrize("fails_in", ["write", "fsync", "rename"])
def test_a_full_disk_leaves_nothing_half_written(
    campaign: CampaignFolder, monkeypatch: pytest.MonkeyPatch, fails_in: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with open_ledger(campaign.ledger) as ledger:
        folder = campaign.start_trial("buggy", 1)
        if fails_in == "rename":
            monkeypatch.setattr(Path, "rename", full)
        else:
            monkeypatch.setattr(os, "fsync", full)
            if fails_in == "write":
                monkeypatch.setattr(Path, "open", full)
        with pytest.raises(InfrastructureError, match=r"free some space.*--resume") as caught:
            campaign.finish_trial(folder, record(), ledger)
        monkeypatch.undo()
        assert caught.value.exit_code == ExitCode.INFRASTRUCTURE
        assert ledger.lines == []
        assert not (campaign.trials / "buggy-0001").exists()
        campaign.recover(ledger)
        assert ledger.lines == []
    finish(campaign, 1)
    assert campaign.records() == [record()]


def test_the_ledger_s_full_disk_loses_no_finished_trial(
    campaign: CampaignFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with open_ledger(campaign.ledger) as ledger:
        folder = campaign.start_trial("buggy", 1)
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(InfrastructureError):
            campaign.finish_trial(folder, record(), ledger)
    monkeypatch.undo()
    with open_ledger(campaign.ledger) as ledger:
        campaign.recover(ledger)
    assert campaign.records() == [record()]


def test_two_campaigns_of_one_second_get_two_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_module.time, "strftime", lambda *_: "20260101T000000Z")
    names = [create_campaign(tmp_path, "race", plan()).name for _ in range(3)]
    assert names == [
        "race-20260101T000000Z",
        "race-20260101T000000Z-1",
        "race-20260101T000000Z-2",
    ]
    assert CampaignFolder(tmp_path / names[1]).plan()["campaign"] == names[1]


def test_a_full_disk_at_the_start_leaves_no_campaign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InfrastructureError, match="free some space"):
        create_campaign(tmp_path / "results", "race", plan())
    assert list((tmp_path / "results").iterdir()) == []


def test_results_that_are_a_file(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    with pytest.raises(InfrastructureError, match=r"cannot write .*results"):
        create_campaign(tmp_path / "results", "race", plan())


def test_find_by_name_path_and_target(tmp_path: Path) -> None:
    old = create_campaign(tmp_path, "race", plan(created="2026-01-01T00:00:00Z"))
    new = create_campaign(tmp_path, "race", plan(created="2026-01-02T00:00:00Z"))
    other = create_campaign(tmp_path, "other", plan(target="other", created="2027"))
    assert find_campaign(tmp_path, None, "race") == new
    assert find_campaign(tmp_path, old.name, "race") == old
    assert find_campaign(tmp_path, str(other.path), "race") == other


def test_a_campaign_of_another_version_does_not_hide_the_others(tmp_path: Path) -> None:
    mine = create_campaign(tmp_path, "race", plan())
    for name, content in (("a", '{"format": 99}'), ("b", "{"), ("c", "[]")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "campaign.json").write_text(content)
    assert find_campaign(tmp_path, None, "race") == mine
    with pytest.raises(UsageError, match="expected format 1"):
        find_campaign(tmp_path, "a", "race").plan()


@pytest.mark.parametrize("name", [None, "nowhere", "../.."])
def test_what_is_not_there_is_a_usage_error(tmp_path: Path, name: str | None) -> None:
    with pytest.raises(UsageError, match="there is no campaign"):
        find_campaign(tmp_path, name, "race")


def test_a_campaign_without_a_summary_says_so(campaign: CampaignFolder) -> None:
    assert not campaign.is_complete()
    with pytest.raises(UsageError, match="no summary yet"):
        campaign.summary()
    campaign.write_summary({"complete": True})
    assert campaign.is_complete()
