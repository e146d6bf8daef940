# SPDX-License-Identifier: BSD-2-Clause
"""Programs that a source is fetched and unpacked with: run, watched, and their failures told."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from harness.errors import InfrastructureError
from harness.progress import Say

_SAY_SECONDS = 5.0
_SHOWN_LINES = 3


class CommandError(InfrastructureError):
    """A program failed; `said` is the end of what it wrote to standard error."""

    def __init__(self, message: str, said: str) -> None:
        super().__init__(message)
        self.said = said


def run(
    argv: Sequence[str], *, folder: Path | None = None, extra: Mapping[str, str] | None = None
) -> bytes:
    """The program's output. Raises CommandError; InfrastructureError where it is not installed."""
    try:
        done = subprocess.run(
            argv,
            cwd=folder,
            env=os.environ | {"LC_ALL": "C.UTF-8"} | dict(extra or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise _not_there(argv, folder) from error
    if done.returncode == -signal.SIGINT:
        raise KeyboardInterrupt
    if done.returncode != 0:
        raise _failed(argv, done.stderr.decode(errors="replace"))
    return done.stdout


def run_with_progress(
    argv: Sequence[str], *, extra: Mapping[str, str], say: Say, what: str
) -> None:
    """Runs a program that rewrites a line of progress on standard error, as git does.

    Its latest line is said every few seconds. Raises as `run` does.
    """
    try:
        process = subprocess.Popen(
            argv,
            env=os.environ | {"LC_ALL": "C.UTF-8"} | dict(extra),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",  # and universal newlines: a carriage return ends a line
        )
    except FileNotFoundError as error:
        raise _not_there(argv, None) from error
    lines: list[str] = []
    said = time.monotonic()
    try:
        assert process.stderr is not None
        for line in process.stderr:
            lines = [*lines[-50:], line]
            if time.monotonic() - said >= _SAY_SECONDS and line.strip():
                said = time.monotonic()
                say(f"{what}: {' '.join(line.split())}")
        status = process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait()
        if process.stderr is not None:
            process.stderr.close()
    if status == -signal.SIGINT:
        raise KeyboardInterrupt
    if status != 0:
        raise _failed(argv, "".join(lines))


def _not_there(argv: Sequence[str], folder: Path | None) -> InfrastructureError:
    if folder is not None and not folder.is_dir():
        return InfrastructureError(f"{folder} is not there")
    return InfrastructureError(f"{argv[0]} is not installed: apt-get install {argv[0]}")


def _failed(argv: Sequence[str], stderr: str) -> CommandError:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    telling = [line for line in lines if re.match(r"fatal:|error:|tar:|ssh:|.*: error:", line)]
    said = "; ".join((telling or lines)[-_SHOWN_LINES:]) or "it said nothing"
    return CommandError(f"`{' '.join(argv[:6])} …` failed: {said}", said)
