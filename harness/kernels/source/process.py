# SPDX-License-Identifier: BSD-2-Clause
"""A build's program: run with progress, stopped whole, and its first error found."""

import ctypes
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InfrastructureError
from harness.kernels.source.tree import BuildFolder
from harness.progress import Say

_SAY_SECONDS = 5.0
_POLL_SECONDS = 0.02
_PATIENCE_SECONDS = 30.0
"""For make to remove what is half written: on a busy host that takes long, and what make is killed
in, the next build must take for half written as a whole."""
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
# A signal to make alone stops no compiler that make's shells have started, and a killed harness can
# send but one (prctl(2), PR_SET_PDEATHSIG): its receiver passes it on to the whole group.
_GUARD = 'trap \'trap "" TERM; kill -TERM 0; wait; exit 143\' TERM; "$@" & wait $!'
_KILLED = {-signal.SIGKILL, 128 + signal.SIGKILL}
_FIRST_ERRORS = (
    re.compile(r"^\S+:\d+(?::\d+)?: (?:fatal )?error: |: (?:fatal )?error: "),
    re.compile(r"undefined reference to|multiple definition of|No space left on device"),
    re.compile(r"^\S*ld(?:\.\w+)?: (?!warning)|: command not found$|: not found$"),
    re.compile(r"\*\*\*"),
)
_BEFORE, _AFTER, _TAIL = 3, 7, 15


class BuildFailedError(InfrastructureError):
    """A build failed; `excerpt` is the log's first error with its context."""

    def __init__(self, message: str, excerpt: str) -> None:
        super().__init__(message)
        self.excerpt = excerpt


Progress = Callable[[Sequence[str]], str]
"""Given the lines that are new in a build's log, says how far it has come."""


@dataclass(frozen=True)
class Step:
    """One program of a build: `what` it does, and `goal`, its last step, for people."""

    argv: Sequence[str]
    what: str
    goal: str
    environment: Mapping[str, str]
    log: Path


def run_step(step: Step, folder: BuildFolder, progress: Progress, say: Say) -> None:
    """Runs the program; its output goes to the log.

    Raises BuildFailedError. Interrupted, it ends the program and all that it has started.
    """
    folder.make_begins(say)
    process = _start(step.argv, step.environment, step.log)
    try:
        with step.log.open("r", encoding="utf-8", errors="replace") as written:
            status = _watch(process, lambda: progress(written.readlines()), say, step.what)
    finally:
        _end_group(process)
        # ended in any other way, make has removed what was half written
        if process.returncode not in _KILLED:
            folder.make_ended()
    if status != 0:
        excerpt = first_error(step.log.read_text(encoding="utf-8", errors="replace"))
        raise BuildFailedError(
            f"{step.what}: {step.goal} failed; the first error in {step.log}:\n{excerpt}", excerpt
        )


def first_error(log: str) -> str:
    """The first error in a build's output with the lines around it, indented; else its end."""
    lines = log.splitlines()
    for pattern in _FIRST_ERRORS:
        for number, line in enumerate(lines):
            if pattern.search(line):
                shown = lines[max(0, number - _BEFORE) : number + _AFTER]
                return "\n".join(f"    {text}" for text in shown)
    return "\n".join(f"    {text}" for text in lines[-_TAIL:]) or "    (the build said nothing)"


def _start(
    argv: Sequence[str], environment: Mapping[str, str], log: Path
) -> "subprocess.Popen[bytes]":
    parent = os.getpid()
    with log.open("wb") as output:
        return subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "guard", *argv],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: _end_with_parent(parent),
        )


def _end_with_parent(parent: int) -> None:
    """SIGTERM, not SIGKILL, when the harness dies: make then removes what is half written."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    """Ends the program and all that it started; nobody is spared who takes too long or a second
    Ctrl-C."""
    try:
        if _status(process) is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            deadline = time.monotonic() + _PATIENCE_SECONDS
            while _status(process) is None and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _watch(
    process: "subprocess.Popen[bytes]", progress: Callable[[], str], say: Say, what: str
) -> int:
    began = said = time.monotonic()
    while (status := _status(process)) is None:
        time.sleep(_POLL_SECONDS)
        now = time.monotonic()
        if now - said >= _SAY_SECONDS:
            said = now
            say(f"{what}: {now - began:.0f} s, {progress()}")
    return status


def _status(process: "subprocess.Popen[bytes]") -> int | None:
    """Its exit status, of a signal the negative number; None while it runs.

    It stays to be waited for, so that its group's number is nobody else's. Popen's own poll() and
    wait(timeout) acquire a lock before the `try` that releases it: a Ctrl-C between the two leaves
    it held, and the next wait() never returns.
    """
    found = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
