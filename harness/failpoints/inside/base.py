# SPDX-License-Identifier: BSD-2-Clause
"""What every mechanism inside the guest offers: set and checked, read, reset."""

import shlex
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Protocol

from harness.console.guest_channel import CommandResult
from harness.errors import ConfigurationError
from harness.failpoints.grammar import Setting, Term, parse_setting


class Shell(Protocol):
    """What runs commands in the guest: its control channel."""

    async def run(self, command: str) -> CommandResult:
        """Runs a command to its end. Raises GuestError where the guest does not answer."""
        ...


@dataclass(frozen=True)
class Reading:
    """A failpoint as the kernel tells it: `setting` in its own words, counts by their names.

    `knobs` is what a mechanism of many files needs to put them back; `status` is all that the
    kernel tells beside the setting, as it stands.
    """

    setting: str
    counters: dict[str, int] = field(default_factory=dict)
    knobs: dict[str, str] = field(default_factory=dict)
    status: str = ""


class GuestFailpoint(Protocol):
    """One failpoint of an arm. All methods raise GuestError where the guest does not answer."""

    @property
    def name(self) -> str:
        """The target's name for it."""
        ...

    @property
    def mechanism(self) -> str:
        """The mechanism's name in target files."""
        ...

    @property
    def point(self) -> str:
        """The kernel's name for where it is."""
        ...

    @property
    def setting(self) -> Setting:
        """What it is set to."""
        ...

    async def set(self, shell: Shell) -> Reading:
        """Sets it and reads it back; what it was before.

        Raises ConfigurationError where this kernel has no such failpoint, refuses the setting, or
        makes another one of it.
        """
        ...

    async def read(self, shell: Shell) -> Reading:
        """What it is now, after `set`."""
        ...

    async def reset(self, shell: Shell, before: Reading) -> None:
        """Switches it off and puts back what belongs to it, as `set` had found it."""
        ...

    def workload_command(self, command: str) -> str:
        """The command that starts the workload, so that the failpoint knows it."""
        ...


async def output(shell: Shell, command: str) -> str:
    """What a command prints that must succeed. Raises ConfigurationError with what it says."""
    result = await shell.run(command)
    text = result.output.decode(errors="backslashreplace").strip()
    if result.status != 0:
        raise ConfigurationError(f"in the guest, `{command}` failed: {text or result.status}")
    return text


async def write(shell: Shell, file: str, text: str, where: str) -> None:
    """Writes a line to a file of the guest's kernel. Raises ConfigurationError if refused."""
    quoted = shlex.quote(file)
    result = await shell.run(f"echo {shlex.quote(text)} > {quoted}")
    if result.status != 0:
        said = result.output.decode(errors="backslashreplace").strip()
        raise ConfigurationError(f"{where}: {file} does not take `{text}`: {said or result.status}")


def same_effect(asked: Setting, text: str) -> bool:
    """Whether a kernel's words mean the setting, or what executions since then have left of it.

    Terms that are never reached may be left out, and so may those that are used up; of others the
    counts may have gone down: the place can have been passed before the setting was read back.
    """
    try:
        found = list(parse_setting(text).reachable_terms)
    except ConfigurationError:
        return False
    for term in asked.reachable_terms:
        if found and _is_left_of(term, found[0]):
            found.pop(0)
        elif term.count is None:
            return False
    return not found


def _is_left_of(asked: Term, found: Term) -> bool:
    if asked.count is None or found.count is None:
        return asked == found
    return found.count <= asked.count and replace(found, count=asked.count) == asked


def unknown(where: str, kind: str, name: str, known: list[str]) -> ConfigurationError:
    """The error for a name that the kernel does not have, with those nearest to it."""
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    have = ", ".join(near or sorted(known)[:12]) or "none"
    return ConfigurationError(
        f"{where}: this kernel has no {kind} {name!r}; {'similar' if near else 'there are'}: {have}"
    )
