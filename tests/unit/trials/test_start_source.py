# SPDX-License-Identifier: BSD-2-Clause
"""A campaign on the user's own tree: what is recorded, and what resume goes on with."""

import asyncio
import subprocess
from pathlib import Path

import pytest
from fakes import Told, arm

from harness.errors import UsageError
from harness.kernels.override import NamedTree, SourceOverride
from harness.plan.load import load_guest, load_target
from harness.trials import start
from harness.trials.arm import PreparedArm
from harness.trials.prepare import Request
from harness.trials.start import Options, resume_campaign, start_campaign

PROJECT = Path(__file__).parents[3]


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """What arms were prepared for, with nothing prepared or run."""
    seen: list[Request] = []

    async def prepare(request: Request, _: object) -> list[PreparedArm]:
        seen.append(request)
        return [arm("buggy"), arm("fixed")]

    async def run(*_: object) -> None:
        pass

    monkeypatch.setattr(start, "prepare_arms", prepare)
    monkeypatch.setattr(start, "run_campaign", run)
    monkeypatch.setattr(start, "qemu_version", lambda _: "none")
    return seen


def _git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=n", "-c", "user.email=n@example.org"]
    argv = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def _request(folder: Path, target: str, source: SourceOverride, guest: str) -> Request:
    return Request(
        load_target(PROJECT, target),
        load_guest(PROJECT, guest),
        PROJECT,
        folder / "cache",
        source=source,
    )


def test_resume_keeps_the_commit(tmp_path: Path, requests: list[Request]) -> None:
    linux = tmp_path / "linux"
    linux.mkdir()
    _git(linux, "-c", "init.defaultBranch=main", "init", "-q")
    _git(linux, "commit", "-q", "--allow-empty", "-m", "then")
    then = _git(linux, "rev-parse", "HEAD")
    source = SourceOverride(buggy=NamedTree(str(linux), "main"))
    request = _request(tmp_path, "linux-swapin-aba", source, "linux-x86_64")
    folder = asyncio.run(start_campaign(request, Options(), tmp_path / "results", Told()))
    began = {"location": str(linux), "ref": "main", "commit": then}
    assert folder.plan()["source"] == {"every": None, "buggy": began, "fixed": None}
    assert folder.plan()["arms"]["buggy"]["kernel_commit"] is None

    _git(linux, "commit", "-q", "--allow-empty", "-m", "now")
    asyncio.run(resume_campaign(folder, PROJECT, tmp_path / "cache", Told()))
    assert len(requests) == 2
    assert requests[0].source == requests[1].source
    assert requests[1].source == SourceOverride(buggy=NamedTree(str(linux), "main", then))


def test_a_guest_without_a_source_recipe(tmp_path: Path, requests: list[Request]) -> None:
    source = SourceOverride(every=NamedTree(str(tmp_path / "linux"), "main"))
    request = _request(tmp_path, "linux-swapin-aba", source, "linux-arm64")
    for kernel in request.target.model.kernels.values():
        kernel["linux-arm64"] = kernel["linux-arm64"].model_copy(update={"source": None})
    with pytest.raises(UsageError, match="builds no kernel from source on linux-arm64"):
        asyncio.run(start_campaign(request, Options(), tmp_path / "results", Told()))
    assert requests == []
    assert not (tmp_path / "results").exists()
