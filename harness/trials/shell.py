# SPDX-License-Identifier: BSD-2-Clause
"""A prompt in a guest for a person, or one command there."""

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
import termios
import tty
from collections.abc import Iterator
from pathlib import Path

from harness.console.frames import MAX_PAYLOAD
from harness.console.guest_channel import GuestCommand
from harness.errors import UsageError
from harness.progress import Say
from harness.qemu.guest import GuestFiles, RunningGuest, started_guest
from harness.trials.prepare import Request, prepare_kernel

_END_OF_FILE_SECONDS = 0.5


async def run_shell(request: Request, kernel: str, command: str, say: Say) -> int:
    """Boots the target's kernel and serves a prompt, or runs `command`; its exit status.

    Raises UsageError for an unknown kernel, HarnessError as a boot does.
    """
    known_as, model = request.guest.known_as, request.target.model
    if known_as not in model.guests:
        raise UsageError(
            f"the target {request.target.name} does not run on {request.guest.name}; it runs on: "
            + ", ".join(model.guests)
        )
    kernels = [name for name, on in model.kernels.items() if known_as in on]
    if kernel not in kernels:
        raise UsageError(
            f"the target {request.target.name} has no kernel {kernel!r} on {known_as}; it has: "
            + ", ".join(kernels)
        )
    ready = await prepare_kernel(request, kernel, say)
    with tempfile.TemporaryDirectory(prefix="harness-shell-") as folder:
        say(f"booting {ready.kernel.label}")
        async with started_guest(ready.plan, GuestFiles.within(Path(folder))) as guest:
            await guest.set_up(ready.image.setup)
            if command:
                return await _run_command(guest, command)
            say("the guest is ready; leave it with exit or Ctrl-D")
            return await _serve_prompt(guest, ready.image.shell)


async def _run_command(guest: RunningGuest, command: str) -> int:
    running = await guest.channel.start(command)
    async for data in running.output():
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
    return running.status or 0


async def _serve_prompt(guest: RunningGuest, prompt: str) -> int:
    running = await guest.channel.start(prompt, terminal=True)
    size = shutil.get_terminal_size()
    await running.resize(size.lines, size.columns)
    loop = asyncio.get_running_loop()
    typed: asyncio.Queue[bytes] = asyncio.Queue()
    keyboard = sys.stdin.fileno()

    def read_keyboard() -> None:
        data = os.read(keyboard, MAX_PAYLOAD)
        if not data:
            loop.remove_reader(keyboard)  # an end of file is readable for ever
        typed.put_nowait(data)

    with _raw_terminal(keyboard):
        try:
            loop.add_reader(keyboard, read_keyboard)
        except PermissionError:  # a regular file cannot be waited for (epoll_ctl(2), EPERM)
            while data := os.read(keyboard, MAX_PAYLOAD):
                typed.put_nowait(data)
            typed.put_nowait(b"")
        typing = asyncio.create_task(_type(running, typed))
        try:
            async for data in running.output():
                # a person's own shell in their own guest: its escape sequences are wanted
                sys.stdout.buffer.write(data)
                sys.stdout.flush()
        finally:
            loop.remove_reader(keyboard)
            typing.cancel()
            await asyncio.gather(typing, return_exceptions=True)
    return running.status or 0


async def _type(running: GuestCommand, typed: "asyncio.Queue[bytes]") -> None:
    while data := await typed.get():
        await running.write(data)
    while True:  # the keyboard's end of file, as Ctrl-D; a shell that is starting drops it
        await running.write(b"\x04")
        await asyncio.sleep(_END_OF_FILE_SECONDS)


@contextlib.contextmanager
def _raw_terminal(keyboard: int) -> Iterator[None]:
    if not os.isatty(keyboard):
        yield
        return
    before = termios.tcgetattr(keyboard)
    tty.setraw(keyboard)
    try:
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
