# SPDX-License-Identifier: BSD-2-Clause
"""A VM image's first boot, over its serial console: what lets a campaign in over SSH.

As a person would: log in as root, who has no password in the project's images, and run a script
that a second disk brings (image/first-boot.sh). Its key is then known before the first connection.
"""

import io
import re
from dataclasses import dataclass
from typing import Any, TypeAlias

import pexpect
from pexpect.fdpexpect import fdspawn

from harness.console.text import last_lines
from harness.errors import ConfigurationError, GuestError, InfrastructureError
from harness.progress import Say

Console: TypeAlias = "fdspawn[bytes]"
LOGIN_LINE = "logging in on the image's serial console"
_ANSWER_SECONDS = 20.0
_TRIES = 6
_SHELL_SECONDS = 60.0
_SCRIPT_SECONDS = 240.0
_POWER_OFF_SECONDS = 120.0
# the echo of what was typed is another text; single quotes mean the same to csh(1)
_HAIL, _ANSWER = "exec /bin/sh -c 'echo harn\"\"ess-$((40 + 2)); exec /bin/sh'", b"harness-42"
_FOLDER = "/var/harness"
_RUN = (
    f"mkdir -p {_FOLDER} && cd {_FOLDER} && tar -x -f $(ls /dev/diskid/DISK-harness /dev/vtbd1 "
    "2>/dev/null | head -n 1) && sh first-boot.sh; echo harness: st''atus $?"
)
_SAID = re.compile(rb"harness: ([a-z-]+) ([^\r\n]*)\r?\n")
_FAILURES = (
    (rb"panic: ([^\r\n]*)", "the kernel panics"),
    (rb"mountroot> ", "the kernel finds no root"),
    (rb"Enter full pathname of shell", "its start-up ended, in single-user mode"),
    (rb"init died|exec /sbin/init: error", "its init does not run: is it of this architecture?"),
)


@dataclass(frozen=True)
class FirstBoot:
    """What the image told of itself: `host_key` is type and base64, as in known_hosts."""

    host_key: str
    release: str
    compiler: str
    """The path of cc(1), or `none`."""
    free_kib: int


def first_boot(console: Console, seconds: float, say: Say) -> FirstBoot:
    """Talks to a machine that has just been started, until it has powered itself off.

    `seconds` is the limit until there is a prompt to log in at. Raises ConfigurationError for an
    image that cannot be used and says so, GuestError with the console's last lines where it stops.
    """
    dialogue = _Dialogue(console)
    dialogue.await_login(seconds)
    say(LOGIN_LINE)
    dialogue.log_in()
    facts = dialogue.run_script()
    dialogue.power_off()
    return _first_boot(facts)


class _Dialogue:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._heard = io.BytesIO()
        console.logfile_read = self._heard

    def await_login(self, seconds: float) -> None:
        index = self._expect([rb"login: $", *(pattern for pattern, _ in _FAILURES)], seconds)
        if index is None:
            raise self._stopped(f"no prompt to log in at after {seconds:g} s")
        if index > 0:
            raise self._stopped(_FAILURES[index - 1][1])

    def log_in(self) -> None:
        self._send("root")
        index = self._expect(
            [rb"[#%$>] ?$", rb"assword:", rb"Login incorrect"], _ANSWER_SECONDS * 3
        )
        if index is None:
            raise self._stopped("no shell after root's name")
        if index > 0:
            raise ConfigurationError(
                "root's password is asked for on its console: expected an image as the project "
                "publishes it, where root has none"
            )
        # csh(1) may still be starting, and drop what is typed
        for _ in range(_TRIES):
            self._send(_HAIL)
            if self._expect([re.escape(_ANSWER)], _ANSWER_SECONDS) is not None:
                return
        raise self._stopped("root's shell answers nothing")

    def run_script(self) -> dict[str, str]:
        begin = self._heard.tell()
        self._send(_RUN)
        if self._expect([rb"harness: status (\d+)"], _SCRIPT_SECONDS) is None:
            raise self._stopped(f"the first boot's script was not done after {_SCRIPT_SECONDS:g} s")
        said = self._heard.getvalue()[begin:] + b"\n"
        facts = {
            name.decode(): value.decode(errors="replace") for name, value in _SAID.findall(said)
        }
        if "failed" in facts:
            raise ConfigurationError(f"it cannot be used: {facts['failed']}")
        if "host-key" not in facts or facts.get("status") != "0":
            raise self._stopped("the first boot's script did not run to its end")
        return facts

    def power_off(self) -> None:
        self._send("exec poweroff")
        try:
            self._console.expect(pexpect.EOF, timeout=_POWER_OFF_SECONDS)
        except pexpect.TIMEOUT:
            raise self._stopped(f"it has not powered off after {_POWER_OFF_SECONDS:g} s") from None

    def _send(self, line: str) -> None:
        self._console.send(line.encode() + b"\r")

    def _expect(self, patterns: list[bytes], seconds: float) -> int | None:
        """Which of them came; None where none did in time, or the machine has ended."""
        compiled: list[Any] = [re.compile(pattern) for pattern in patterns]
        try:
            return int(self._console.expect(compiled, timeout=seconds))
        except (pexpect.TIMEOUT, pexpect.EOF):
            return None

    def _stopped(self, what: str) -> GuestError:
        return GuestError(
            f"the image's first boot: {what}\n"
            f"  last lines of its console:\n{last_lines(self._heard.getvalue())}"
        )


def _first_boot(facts: dict[str, str]) -> FirstBoot:
    userland, kernel = (facts.get(name, "") for name in ("userland", "kernel"))
    if userland.isdigit() and kernel.isdigit() and int(userland) // 100000 > int(kernel) // 100000:
        raise ConfigurationError(
            f"the image's programs are of a newer FreeBSD ({userland}) than the kernel that is to "
            f"run them ({kernel}): take the image of the kernel's release, or an older one"
        )
    free = facts.get("free", "")
    if not re.fullmatch(r"ssh-ed25519 [A-Za-z0-9+/=]+", facts["host-key"]):
        raise InfrastructureError(f"the image's host key came damaged: {facts['host-key']!r}")
    return FirstBoot(
        host_key=facts["host-key"],
        release=facts.get("release", "unknown"),
        compiler=facts.get("compiler", "none"),
        free_kib=int(free) if free.isdigit() else 0,
    )
