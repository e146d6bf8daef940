# SPDX-License-Identifier: BSD-2-Clause
"""The harness's errors, each with the exit code that it ends a command with."""

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What a command's exit status says; the table in docs/verdicts.md is the same."""

    HOLDS = 0
    FAILS = 1
    USAGE = 2
    INCONCLUSIVE = 3
    INFRASTRUCTURE = 4
    INTERRUPTED = 130


class HarnessError(Exception):
    """Anything the harness reports as one message; caught once, at the command line."""

    exit_code: ClassVar[ExitCode] = ExitCode.INFRASTRUCTURE


class UsageError(HarnessError):
    """The command line, or what it names, is wrong: the user can mend it."""

    exit_code = ExitCode.USAGE


class ConfigurationError(UsageError):
    """A target, guest config or failpoint is wrong; the message names file, key and value."""


class InfrastructureError(HarnessError):
    """The host stands in the way: a missing program or package, no network, a full disk."""


class GuestError(HarnessError):
    """A guest failed the harness (boot, control channel, QEMU's death); a trial is then void."""
