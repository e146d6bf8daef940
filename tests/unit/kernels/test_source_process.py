# SPDX-License-Identifier: BSD-2-Clause
"""A build's program whose harness is interrupted at an awkward moment."""

import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from harness.kernels.source import process
from harness.kernels.source.process import BuildFailedError, Step, run_step
from harness.kernels.source.tree import BuildFolder


def _step(folder: Path, script: str) -> Step:
    return Step(["sh", "-c", script], "a build", "its end", dict(os.environ), folder / "log")


def _interrupt(_lines: object) -> str:
    raise KeyboardInterrupt


class _InterruptedLock:
    """Popen's lock as a Ctrl-C leaves it that arrives when it has just been acquired."""

    def __init__(self, lock: Any) -> None:
        self._lock = lock

    def acquire(self, *arguments: Any) -> bool:
        self._lock.acquire(*arguments)
        raise KeyboardInterrupt

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> None:
        self._lock.__enter__()

    def __exit__(self, *reason: object) -> None:
        self._lock.__exit__(*reason)


def test_a_ctrl_c_inside_popen_leaves_no_wait_that_never_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    start = process._start

    def awkward(*arguments: Any) -> "subprocess.Popen[bytes]":
        child = start(*arguments)
        child._waitpid_lock = _InterruptedLock(child._waitpid_lock)  # type: ignore[attr-defined]
        started.append(child)
        return child

    monkeypatch.setattr(process, "_start", awkward)
    monkeypatch.setattr(process, "_SAY_SECONDS", 0.0)
    monkeypatch.setattr(process, "_PATIENCE_SECONDS", 0.1)
    interrupted = threading.Event()

    def build() -> None:
        try:
            run_step(_step(tmp_path, "sleep 60"), BuildFolder(tmp_path), _interrupt, print)
        except KeyboardInterrupt:
            interrupted.set()

    threading.Thread(target=build, daemon=True).start()
    assert interrupted.wait(10)
    assert started[0].returncode is not None


def test_how_a_program_ended(tmp_path: Path) -> None:
    folder = BuildFolder(tmp_path)
    run_step(_step(tmp_path, "true"), folder, lambda _: "", print)
    for script, said in (("echo x: error: y; exit 3", "x: error: y"), ("kill -9 $$", "Killed")):
        with pytest.raises(BuildFailedError, match="its end failed") as error:
            run_step(_step(tmp_path, script), folder, lambda _: "", print)
        assert said in error.value.excerpt
