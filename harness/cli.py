# SPDX-License-Identifier: BSD-2-Clause
"""The command line: arguments in, one command, exit code out."""

import asyncio
import importlib
import os
import signal
import sys
import traceback
from typing import NoReturn

import click

import harness
from harness.console.text import printable_text
from harness.errors import ExitCode, HarnessError

_EXIT_CODES = (
    "Exit codes: 0 the claim holds, 1 it does not, 2 usage or configuration, 3 inconclusive within "
    "the budget, 4 infrastructure, 130 interrupted. shell ends with the command's own status."
)

COMMANDS = {
    "repro": "Reproduce TARGET on its buggy kernel and show its fixed kernel clean.",
    "run": "Boot your own kernel, run your own reproducer, and say how often something goes wrong.",
    "replay": "Run a recorded TRIAL again, seed and all.",
    "list": "Show targets, guests and kernels, and whether this host can run them.",
    "places": "Show where each place of TARGET is in its kernels, with the code around it.",
    "shell": "Boot GUEST and give a prompt in it, or run a command there.",
    "crashes": "Crash reports in consoles: find them, and score the finder.",
    "symbolize": "Print a console log with file and line at every frame.",
    "doctor": "Say what this host can run, what is missing, and the command that mends it.",
}
"""What `harness --help` says of each command, which harness/commands has a module for."""


class _Commands(click.Group):
    """Commands that are imported when they are called: what most of them need takes a second."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"harness.commands.{name}").command
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EXIT_CODES
)
@click.version_option(harness.__version__, prog_name="harness")
def cli() -> None:
    """Reproduce kernel races under QEMU, and say how often they reproduce."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Entry point of the console script."""
    # a shell starts its background jobs with SIGINT ignored; SIGTERM is to clean up as Ctrl-C does
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    sys.exit(_run(arguments))


def _run(arguments: list[str] | None) -> int:
    try:
        return int(cli.main(arguments, standalone_mode=False) or ExitCode.HOLDS)
    except (KeyboardInterrupt, asyncio.CancelledError, click.Abort):
        _complain("interrupted; what was recorded is safe: go on with --resume")
        return ExitCode.INTERRUPTED
    except click.ClickException as error:
        error.show()
        return ExitCode.USAGE
    except HarnessError as error:
        _complain(str(error))
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.INFRASTRUCTURE
    except OSError as error:
        _complain(f"{error.filename or 'the host'}: {error.strerror or error}")
        return ExitCode.INFRASTRUCTURE
    except Exception:
        # Python's own exit status for it is 1, which would say that the claim does not hold
        traceback.print_exc()
        _complain("that is a defect of the harness; what was recorded is safe")
        return ExitCode.INFRASTRUCTURE


def _complain(message: str) -> None:
    # it may quote what a guest said
    click.echo(f"harness: {printable_text(message)}", err=True)
