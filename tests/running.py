# SPDX-License-Identifier: BSD-2-Clause
"""The harness as a user runs it, in projects that a test may spoil."""

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

PROJECT = Path(__file__).resolve().parent.parent
CHAOS = Path(__file__).resolve().parent / "guest" / "chaos"
_MARK = "HARNESS_TEST_MARK"


@dataclass(frozen=True)
class Done:
    """How one run of the harness ended."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """What `--json` printed."""
        found: dict[str, Any] = json.loads(self.out)
        return found


@dataclass
class Harness:
    """The `harness` command in a project, with results and leftovers that a test can look at."""

    project: Path
    results: Path
    environment: dict[str, str] = field(default_factory=dict)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    def start(self, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        """Starts it in the background, as the leader of a process group."""
        return subprocess.Popen(
            [sys.executable, "-c", "from harness.cli import main; main()", *arguments],
            env=os.environ
            | {
                "HARNESS_PROJECT": str(self.project),
                "HARNESS_RESULTS": str(self.results),
                "PYTHONPATH": str(PROJECT),
                _MARK: self.mark,
            }
            | self.environment
            | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def finish(self, running: "subprocess.Popen[str]", seconds: float = 200) -> Done:
        """Waits for it to end."""
        try:
            out, err = running.communicate(timeout=seconds)
        finally:
            if running.poll() is None:
                running.kill()
                running.wait()
        return Done(running.returncode, out, err)

    def run(self, *arguments: str, seconds: float = 200, **environment: str) -> Done:
        """Runs it to its end."""
        return self.finish(self.start(*arguments, **environment), seconds)

    def campaigns(self) -> list[Path]:
        """Campaign folders, the oldest first."""
        return sorted(path.parent for path in self.results.glob("*/campaign.json"))

    def finished(self) -> dict[str, bytes]:
        """Every finished trial's record, by its path."""
        return {
            str(path): path.read_bytes()
            for path in self.results.glob("*/trials/*/trial.json")
            if not path.parent.name.startswith(".")
        }

    def qemus(self) -> list[psutil.Process]:
        """QEMU processes that were started from here and still run."""
        found = []
        for process in psutil.process_iter(["name"]):
            try:
                if "qemu" not in process.info["name"] or process.status() == psutil.STATUS_ZOMBIE:
                    continue
                if process.environ().get(_MARK) == self.mark:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def no_qemu_within(self, seconds: float = 3) -> bool:
        """Whether all QEMU processes are gone soon."""
        end = time.monotonic() + seconds
        while self.qemus():
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    def wait_for(self, running: "subprocess.Popen[str]", what: Callable[[], object]) -> None:
        """Returns when `what` is true while the harness still runs."""
        end = time.monotonic() + 120
        while not what():
            assert running.poll() is None, self.finish(running).err
            assert time.monotonic() < end
            time.sleep(0.02)


Edit = tuple[str, str]


def make_project(folder: Path, *edits: Edit) -> Path:
    """A project with the target `chaos`; each edit replaces a text of its target.toml."""
    shutil.copytree(PROJECT / "guest-configs", folder / "guest-configs")
    (folder / "workloads").mkdir()
    shutil.copy(PROJECT / "workloads" / "harness_workload.h", folder / "workloads")
    shutil.copy(CHAOS / "chaos.c", folder / "workloads")
    (folder / "scripts").mkdir()
    shutil.copy(PROJECT / "scripts" / "host-packages", folder / "scripts")
    target = folder / "failpoints" / "chaos" / "target.toml"
    target.parent.mkdir(parents=True)
    text = (CHAOS / "target.toml").read_text()
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    target.write_text(text)
    return folder
