# SPDX-License-Identifier: BSD-2-Clause
"""A serial console that plays back what a machine once said, step by step as it is typed to.

A recording is text: lines that begin with `>>> ` were typed, all others the machine said (with its
carriage returns; the last newline before a typed line is the recording's own).
"""

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pexpect.fdpexpect import fdspawn

from harness.systems.freebsd.first_boot import Console

Step = tuple[bytes, bytes]
"""What is waited for (nothing: at once), and what is then said."""


def recorded(text: bytes) -> list[Step]:
    """The steps of a recording."""
    said, typed, steps = b"", b"", []
    for line in text.splitlines(keepends=True):
        if line.startswith(b">>> "):
            steps.append((typed, said.removesuffix(b"\n")))
            typed, said = line[4:].rstrip(b"\n"), b""
        else:
            said += line
    return [*steps, (typed, said)]


@contextmanager
def console(steps: Sequence[Step], hangs: bool = False) -> Iterator[Console]:
    """The harness's end of the line; after the last step it is closed, unless it `hangs`."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(20)
    over = threading.Event()

    def play() -> None:
        for typed, said in steps:
            heard = b""
            while typed and typed + b"\r" not in heard:
                if not (data := theirs.recv(4096)):
                    return
                heard += data
            theirs.sendall(said)
        if hangs:
            over.wait(20)
        theirs.close()

    thread = threading.Thread(target=play)
    thread.start()
    try:
        spawn: Console = fdspawn(ours.fileno())
        yield spawn
    finally:
        over.set()
        ours.close()
        thread.join()
