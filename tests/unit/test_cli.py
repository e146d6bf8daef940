# SPDX-License-Identifier: BSD-2-Clause
"""Exit codes and messages of the command line, for every kind of end that there is."""

import asyncio
import errno
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from running import PROJECT, make_project

from harness import cli, commands
from harness.commands import campaigns
from harness.errors import ConfigurationError, GuestError, InfrastructureError, UsageError
from harness.trials.record import CampaignFolder

ARM = {
    "kernel": "k", "trials": 1, "reproduced": 1, "crashed": 0, "hung": 0, "survived": 0, "void": 0,
    "rate": 1.0, "rate_low": 0.0, "rate_high": 1.0, "median_cpu_seconds": 1.0, "attempts": None,
}  # fmt: skip


def summary(claim: str) -> dict[str, Any]:
    return {
        "target": "race", "guest": "g", "claim": claim, "confidence": 0.97, "reason": "because",
        "asked_confidence": 0.95, "arms": {"buggy": ARM, "fixed": ARM}, "unexpected": [],
        "complete": True,
    }  # fmt: skip


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_PROJECT", str(make_project(tmp_path / "project")))
    monkeypatch.setenv("HARNESS_RESULTS", str(tmp_path / "results"))
    return tmp_path


def ends_with(monkeypatch: pytest.MonkeyPatch, end: BaseException | CampaignFolder) -> None:
    async def start(*_: object) -> CampaignFolder:
        if isinstance(end, BaseException):
            raise end
        return end

    monkeypatch.setattr(campaigns, "start_campaign", start)


def run(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = cli._run(list(arguments))
    out, err = capfd.readouterr()
    return status, out, err


@pytest.mark.parametrize(("claim", "status"), [("holds", 0), ("fails", 1), ("inconclusive", 3)])
def test_the_claim_is_the_exit_code(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    claim: str,
    status: int,
) -> None:
    folder = CampaignFolder(project)
    folder.write_summary(summary(claim))
    ends_with(monkeypatch, folder)
    got, out, err = run(capfd, "repro", "chaos", "--json")
    assert got == status
    assert json.loads(out) == summary(claim)
    assert claim.rstrip("s") in err
    got, out, _ = run(capfd, "repro", "chaos")
    assert (got, out) == (status, "")


@pytest.mark.parametrize(
    ("end", "status", "words"),
    [
        (UsageError("no such thing"), 2, "harness: no such thing"),
        (ConfigurationError("target.toml: x: bad"), 2, "target.toml: x: bad"),
        (InfrastructureError("no network"), 4, "harness: no network"),
        (GuestError("boot failed\n  \x1b[2Jconsole"), 4, "boot failed\n  console"),
        (OSError(errno.ENOSPC, "No space left on device", "/r/x"), 4, "/r/x: No space left"),
        (OSError("no reason"), 4, "no reason"),
        (KeyboardInterrupt(), 130, "go on with --resume"),
        (asyncio.CancelledError(), 130, "go on with --resume"),
        (BrokenPipeError(), 4, ""),
        (ZeroDivisionError("oh"), 4, "defect of the harness"),
    ],
)
def test_every_other_end(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    end: BaseException,
    status: int,
    words: str,
) -> None:
    monkeypatch.setattr(cli.os, "dup2", lambda *_: None)
    ends_with(monkeypatch, end)
    got, out, err = run(capfd, "repro", "chaos")
    assert (got, out) == (status, "")
    assert words in err
    assert "\x1b" not in err
    assert ("Traceback" in err) == isinstance(end, ZeroDivisionError)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["repro", "caos"], "did you mean chaos?"),
        (["repro", "chaos", "--guest", "linux-x86"], "did you mean linux-x86_64"),
        (["repro", "chaos", "--arch", "sparc"], "no guest of the architecture sparc"),
        (["repro", "chaos", "--trials", "0"], "--trials"),
        (["repro", "chaos", "--trials", "many"], "--trials"),
        (["repro", "chaos", "--confidence", "1"], "--confidence"),
        (["repro", "chaos", "--confidence", "nan"], "confidence"),
        (["repro", "chaos", "--confidence", "0.99999"], "budget"),
        (["repro", "chaos", "--nonsense"], "--nonsense"),
        (["repro", "chaos", "one", "too", "many"], "unexpected"),
        (["repro", "chaos", "--resume"], "no campaign of chaos"),
        (["repro", "chaos", "--resume", "nowhere"], "no campaign 'nowhere'"),
        (["replay", "/nonexistent"], "is no trial's folder"),
        (["shell", "linux-x86_65", "--target", "chaos"], "did you mean linux-x86_64"),
        (["shell", "freebsd-amd64"], "no target runs on freebsd-amd64; --campaign boots what"),
        (["shell", "freebsd-amd64", "--target", "chaos"], "chaos does not run on freebsd-amd64"),
        (["nonsense"], "No such command"),
        (["list", "--nonsense"], "--nonsense"),
    ],
)  # fmt: skip
def test_usage_errors(
    project: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    status, out, err = run(capfd, *arguments)
    assert (status, out) == (2, "")
    assert words in err
    assert "Traceback" not in err


def test_an_unknown_arm_is_a_usage_error(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capfd, "repro", "chaos", "--arms", "nonsense")
    assert status == 2
    assert "no arm 'nonsense'" in err
    assert "there are: buggy, fixed" in err


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["repro", "-h"]])
def test_help_is_no_error(capfd: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    status, out, _ = run(capfd, *arguments)
    assert status == 0
    assert out


def test_a_missing_workload_is_named(
    project: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = SimpleNamespace(vcpus=2)
    monkeypatch.setattr("harness.trials.prepare._machine", lambda *_, **__: machine)
    (project / "project" / "workloads" / "chaos.c").unlink()
    status, _, err = run(capfd, "repro", "chaos")
    assert status == 2
    assert re.search(r"target.toml: workload.program: 'chaos.c'.*no such file", err)


def test_the_list_as_json(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capfd, "list", "--json")
    row, alike = json.loads(out)
    assert status == 0
    assert (alike["target"], alike["guest"]) == ("chaos", "linux-x86_64-full")
    assert (row["target"], row["guest"]) == ("chaos", "linux-x86_64")
    assert row["kernels"]["stock"].startswith("linux-image-5.10")
    status, out, _ = run(capfd, "list")
    assert status == 0
    assert row["kernels"]["stock"] in out, "nothing is cut off in a pipe"


def test_a_broken_target_is_told_by_list(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (project / "project" / "failpoints" / "chaos" / "target.toml").write_text("[")
    status, _, err = run(capfd, "list")
    assert status == 2
    assert "target.toml is not valid TOML" in err


def test_the_exit_code_reaches_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        cli.main(["nonsense"])
    assert ended.value.code == 2


def test_codes_are_as_documented() -> None:
    table = (PROJECT / "docs" / "verdicts.md").read_text().partition("## Exit codes")[2]
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    assert documented == {int(code) for code in cli.ExitCode}


def test_help_names_every_command_and_nothing_else() -> None:
    modules = {name for _, name, _ in pkgutil.iter_modules(commands.__path__)}
    assert modules - {"campaigns", "defaults"} == set(cli.COMMANDS)
    for name in cli.COMMANDS:
        command = cli.cli.get_command(click.Context(cli.cli), name)
        assert command is not None
        assert command.help


def test_help_needs_no_statistics() -> None:
    asked = "import sys; from harness.cli import cli; cli(['--help'], standalone_mode=False)\n"
    tell = "sys.stderr.write(' '.join(sys.modules))"
    end = subprocess.run([sys.executable, "-c", asked + tell], capture_output=True, text=True)
    assert "reproduce" in end.stdout
    assert "scipy" not in end.stderr.split()


def test_a_command_that_does_not_exist(capfd: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capfd, "reprod")
    assert status == 2
    assert "No such command 'reprod'" in err
