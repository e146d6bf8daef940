# SPDX-License-Identifier: BSD-2-Clause
"""`harness run` on the command line: what it hands on, how it ends."""

import json
from pathlib import Path
from typing import Any

import pytest
from running import make_project

from harness import cli
from harness.commands import campaigns
from harness.trials.prepare import Request
from harness.trials.record import CampaignFolder
from harness.trials.start import Options

ARM = {
    "kernel": "k", "trials": 4, "reproduced": 1, "crashed": 0, "hung": 0, "survived": 3, "void": 0,
    "rate": 0.25, "rate_low": 0.01, "rate_high": 0.81, "median_cpu_seconds": None, "attempts": None,
}  # fmt: skip


class Started:
    """Stands in for the campaign: remembers what it was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = CampaignFolder(folder)
        self.asked: list[tuple[Request, Options]] = []

    async def __call__(
        self, request: Request, options: Options, results: Path, watcher: object
    ) -> CampaignFolder:
        self.asked.append((request, options))
        return self.folder

    def ends_with(self, claim: str) -> None:
        document: dict[str, Any] = {
            "target": "run", "guest": "linux-x86_64", "claim": claim, "confidence": 0.0,
            "reason": "seen in 1 of 4 trials", "asked_confidence": 0.95, "arms": {"run": ARM},
            "unexpected": [], "complete": True,
        }  # fmt: skip
        (self.folder.path / "summary.json").write_text(json.dumps(document))


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Started:
    monkeypatch.setenv("HARNESS_PROJECT", str(make_project(tmp_path / "project")))
    monkeypatch.setenv("HARNESS_RESULTS", str(tmp_path / "results"))
    started = Started(tmp_path)
    monkeypatch.setattr(campaigns, "start_campaign", started)
    return started


@pytest.mark.parametrize(("claim", "status"), [("clean", 0), ("seen", 1), ("inconclusive", 3)])
def test_what_was_seen_is_the_exit_code(
    started: Started, capfd: pytest.CaptureFixture[str], claim: str, status: int
) -> None:
    started.ends_with(claim)
    assert cli._run(["run", "--json"]) == status
    out, err = capfd.readouterr()
    assert json.loads(out)["claim"] == claim
    assert "seen in 1 of 4 trials" in err
    assert "claim" not in err  # nothing was compared


def test_options_reach_the_campaign(started: Started, tmp_path: Path) -> None:
    started.ends_with("clean")
    source = tmp_path / "repro.c"
    source.write_text("int main(void) { return 0; }\n")
    words = ["run", "--workload", str(source), "--arg", "-x", "--arg", "{seed}", "--trials", "3"]
    words += ["--seconds", "2.5", "--modules", "zram,lzo_rle", "--append", "quiet nosmp"]
    words += ["--compile", "host", "--seed", "9", "--cold-boot", "--confidence", "0.9"]
    assert cli._run(words) == 0
    ((request, options),) = started.asked
    model = request.target.model
    assert options == Options(3, 0.9, 9, True, False)
    assert request.compile_where == "host"
    assert model.workload.plain is not None
    assert model.workload.plain.command == "exec {workload} -x '{seed}'"
    assert model.userland.modules == ["zram", "lzo_rle"]
    assert model.kernels["run"]["linux-x86_64"].append == ["quiet", "nosmp"]
    assert model.budget.trial_seconds == 2.5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--kernel", "no-such-file"], "--kernel no-such-file: there is no such file"),
        (["--guest", "linux-x86"], "linux-x86_64"),
        (["--failpoint", "here"], "expected PLACE=SETTING"),
        (["--trials", "0"], "--trials"),
        (["--resume"], "no campaign of run"),
        (["--source", "no-such-tree"], "--source: there is no"),
        (["--source", ".@a..b"], "harness run has one kernel: name one REF"),
        (["--image", "no-such-image"], "runs no VM image"),
        (["--guest", "freebsd-amd64"], "has no kernel of its own: give --kernel"),
    ],
)
def test_a_wrong_option_is_usage(
    started: Started, capfd: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert cli._run(["run", *words]) == 2
    assert said in capfd.readouterr().err
    assert not started.asked


def test_a_tree_and_questions_for_the_debugger_reach_the_campaign(
    started: Started, tmp_path: Path
) -> None:
    started.ends_with("clean")
    words = ["run", "--guest", "freebsd-amd64", "--source", str(tmp_path), "--ddb", "show pcpu"]
    words += ["--ddb", "bt", "--append", "hw.physmem=80M", "--append", "kern.hz=100"]
    assert cli._run(words) == 0
    ((request, _),) = started.asked
    recipe = request.target.model.kernels["run"]["freebsd-amd64"]
    assert recipe.source is not None
    assert recipe.source.directory == str(tmp_path)
    assert recipe.append == ["hw.physmem=80M", "kern.hz=100"]
    assert request.source is not None  # what a ref was is kept for --resume
    assert request.debugger_commands == ("show pcpu", "bt")


@pytest.mark.parametrize(
    ("words", "noted"),
    [
        ([], False),
        (["--json"], False),
        (["--trials", "10"], True),  # a default, but one that was asked for
        (["--must-end"], True),
        (["--kernel", "bzImage"], True),
    ],
)
def test_resume_notes_that_other_options_are_unused(
    started: Started,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    words: list[str],
    noted: bool,
) -> None:
    async def go_on(*_: object) -> None:
        """Nothing is left to do."""

    started.ends_with("clean")
    monkeypatch.setattr(campaigns, "find_campaign", lambda *_: started.folder)
    monkeypatch.setattr(campaigns, "resume_campaign", go_on)
    assert cli._run(["run", "--resume", "run-1", *words]) == 0
    said = "note: --resume keeps the campaign's plan; other options are unused"
    assert (said in " ".join(capfd.readouterr().err.split())) == noted
