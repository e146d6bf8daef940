# SPDX-License-Identifier: BSD-2-Clause
"""A compiler that runs in a guest: how long it may take, and what its failures are called."""

import asyncio
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from harness.console.guest_channel import GuestChannel
from harness.errors import ConfigurationError, GuestError, InfrastructureError
from harness.files import write_atomically
from harness.systems.base import WorkloadOrder

ON_THE_HOST = "--compile host compiles on the host"
"""The way out that every message names."""
COMPILE_SECONDS = 900.0
_NO_ROOM = re.compile(
    r"[Nn]o space left on device|filesystem full|virtual memory exhausted|out of memory"
    r"|Cannot allocate memory|Killed"
)


async def run_compiler(
    channel: GuestChannel, order: WorkloadOrder, words: Sequence[str], sources: str, more_room: str
) -> None:
    """Runs the compiler `words` in the guest, where the source is in the folder `sources`.

    Raises what `failure` says, and InfrastructureError after COMPILE_SECONDS.
    """
    try:
        async with asyncio.timeout(COMPILE_SECONDS):
            done = await channel.run(f"{shlex.join(words)} 2>&1")
    except TimeoutError as error:
        raise InfrastructureError(
            f"compiling {order.source.name} in the guest was not done after "
            f"{COMPILE_SECONDS:g} s; {ON_THE_HOST}"
        ) from error
    if done.status != 0:
        said = done.output.decode(errors="replace").strip()
        raise failure(order, done.status, said, sources, more_room)


def failure(
    order: WorkloadOrder, status: int, said: str, sources: str, more_room: str
) -> ConfigurationError | InfrastructureError | GuestError:
    """What to raise where the compiler ended with `status` (not 0); `said` is its output.

    `sources` is the source's folder in the guest, `more_room` what to do where memory or disk were
    too small.
    """
    said = said.replace(f"{sources}/", f"{order.source.parent}/")
    if _NO_ROOM.search(said):
        return InfrastructureError(
            f"compiling {order.source.name} in the guest ran out of memory or room: {more_room}; "
            f"{ON_THE_HOST}\n{said}"
        )
    if status in (126, 127):
        return GuestError(f"the compiler does not run in the guest: {said}; {ON_THE_HOST}")
    return ConfigurationError(f"{order.source} does not compile:\n{said}")


def keep_program(program: Path, content: bytes) -> Path:
    """Writes the program that came out of the guest; it is there whole, or not at all."""
    program.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(program, content, 0o755)
    return program
