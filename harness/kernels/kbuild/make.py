# SPDX-License-Identifier: BSD-2-Clause
"""make of a kernel tree: run with progress, stopped whole, and its first error found."""

import ctypes
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InfrastructureError
from harness.kernels.kbuild.architecture import Architecture
from harness.kernels.kbuild.tree import BuildFolder
from harness.progress import Say

_SAY_SECONDS = 5.0
_POLL_SECONDS = 0.1
_PATIENCE_SECONDS = 5.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
# A signal to make alone stops no compiler that make's shells have started, and a killed harness can
# send but one (prctl(2), PR_SET_PDEATHSIG): its receiver passes it on to the whole group.
_GUARD = 'trap \'trap "" TERM; kill -TERM 0; wait; exit 143\' TERM; "$@" & wait $!'
_KILLED = {-signal.SIGKILL, 128 + signal.SIGKILL}
_STEP = re.compile(r"^  ([A-Z][A-Z0-9_ ]*?)\s+(?:\[M\]\s+)?(\S+)$")
_OBJECT_STEPS = {"CC", "AS", "HOSTCC", "LD"}
_FIRST_ERRORS = (
    re.compile(r"^\S+:\d+(?::\d+)?: (?:fatal )?error: |: (?:fatal )?error: "),
    re.compile(r"undefined reference to|multiple definition of|No space left on device"),
    re.compile(r"^\S*ld(?:\.\w+)?: (?!warning)|: command not found$|: not found$"),
    re.compile(r"\*\*\*"),
)
_BEFORE, _AFTER, _TAIL = 3, 7, 15


class BuildFailedError(InfrastructureError):
    """make failed; `excerpt` is the log's first error with its context."""

    def __init__(self, message: str, excerpt: str) -> None:
        super().__init__(message)
        self.excerpt = excerpt


@dataclass(frozen=True)
class Make:
    """make for one build folder; `compiler` may be several words (`ccache gcc`)."""

    folder: BuildFolder
    arch: Architecture
    compiler: str
    cache: Path

    def run(self, *goals: str, say: Say, what: str, log: Path | None = None) -> None:
        """Makes the goals (and VARIABLE=value); its output goes to the folder's log, or `log`.

        Raises BuildFailedError. Interrupted, it ends make and all that make has started.
        """
        argv = [
            "make",
            "-C",
            str(self.folder.source),
            f"O={self.folder.objects}",
            f"ARCH={self.arch.kbuild}",
            f"CROSS_COMPILE={self.arch.cross_compile}",
            f"CC={self.compiler}",
            # set, though empty: else a tree inside somebody's git repository gets a `+`
            "LOCALVERSION=",
            f"-j{len(os.sched_getaffinity(0))}",
            "--output-sync=target",
            *goals,
        ]
        log = log or self.folder.log
        self.folder.make_begins(say)
        process = _start(argv, build_environment(self.cache), log)
        try:
            with log.open("r", encoding="utf-8", errors="replace") as written:
                progress = _Progress(written.readlines, f"{self.folder.objects}/")
                status = _watch(process, progress, say, what)
        finally:
            _end_group(process)
            # ended in any other way, make has removed what was half written
            if process.returncode not in _KILLED:
                self.folder.make_ended()
        if status != 0:
            excerpt = first_error(log.read_text(encoding="utf-8", errors="replace"))
            raise BuildFailedError(
                f"{what}: make {goals[-1]} failed; the first error in {log}:\n{excerpt}", excerpt
            )


def ccached(compiler: str) -> str:
    """The compiler through ccache, where that is installed."""
    return f"ccache {compiler}" if shutil.which("ccache") else compiler


def build_environment(cache: Path) -> dict[str, str]:
    """Variables for make: little of the user's, since kbuild and make take orders from many.

    A `make TARGET=…` that the harness was started from passes on MAKEFLAGS, job server and all its
    variables. The KBUILD_BUILD_* make the same sources the same image (Documentation/kbuild/
    reproducible-builds.rst).
    """
    kept = ("PATH", "HOME", "TMPDIR", "CCACHE_DIR", "CCACHE_MAXSIZE", "CCACHE_DISABLE")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment.setdefault("CCACHE_DIR", str(cache / "ccache"))
    return environment | {
        "LC_ALL": "C",
        "CCACHE_NOHASHDIR": "1",
        "KBUILD_BUILD_TIMESTAMP": "1970-01-01",
        "KBUILD_BUILD_USER": "harness",
        "KBUILD_BUILD_HOST": "harness",
        "KBUILD_BUILD_VERSION": "1",
    }


def compiler_identity(compiler: str, arch: Architecture) -> str:
    """First lines of what the compiler and the linker call themselves. Raises HarnessError."""
    lines = []
    for program in (compiler, f"{arch.cross_compile}ld"):
        try:
            done = subprocess.run(
                [*shlex.split(program), "--version"],
                capture_output=True,
                text=True,
                env=os.environ | {"LC_ALL": "C"},
                check=True,
            )
        except (OSError, subprocess.CalledProcessError) as error:
            raise InfrastructureError(
                f"`{program} --version` does not work: {error}; install a compiler, or name "
                "another in the recipe (`compiler`) or the variable CC"
            ) from error
        lines.append(done.stdout.partition("\n")[0])
    return "; ".join(lines)


def first_error(log: str) -> str:
    """The first error in make's output with the lines around it, indented; else its end."""
    lines = log.splitlines()
    for pattern in _FIRST_ERRORS:
        for number, line in enumerate(lines):
            if pattern.search(line):
                shown = lines[max(0, number - _BEFORE) : number + _AFTER]
                return "\n".join(f"    {text}" for text in shown)
    return "\n".join(f"    {text}" for text in lines[-_TAIL:]) or "    (make said nothing)"


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
    """Ends make and all that it started; nobody is spared who takes too long or a second Ctrl-C."""
    try:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE_SECONDS)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@dataclass
class _Progress:
    read: Callable[[], list[str]]
    objects_folder: str
    objects: int = 0
    last: str = ""

    def update(self) -> None:
        for line in self.read():
            if found := _STEP.match(line.rstrip()):
                self.objects += found[1] in _OBJECT_STEPS
                self.last = f"{found[1]} {found[2].removeprefix(self.objects_folder)}"


def _watch(process: "subprocess.Popen[bytes]", progress: _Progress, say: Say, what: str) -> int:
    began = said = time.monotonic()
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(_POLL_SECONDS)
        now = time.monotonic()
        if now - said >= _SAY_SECONDS:
            said = now
            progress.update()
            say(f"{what}: {progress.objects} objects in {now - began:.0f} s ({progress.last})")
