# SPDX-License-Identifier: BSD-2-Clause
"""The console's capture: byte-exact up to its limit, and never in the guest's way."""

import asyncio
import errno
import hashlib
import io
import os
import socket
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

from harness.console.capture import ConsoleCapture


class Full(io.BytesIO):
    """A full disk."""

    def write(self, data: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def capture_all(
    pieces: Iterable[bytes],
    log: BinaryIO,
    limit: int = 1 << 20,
    listener: Callable[[bytes], object] | None = None,
) -> ConsoleCapture:
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    _, guest = await asyncio.open_connection(sock=theirs)
    capture = ConsoleCapture(reader, log, limit)
    if listener:
        capture.listen(listener)  # type: ignore[arg-type]
    for piece in pieces:
        guest.write(piece)
        await guest.drain()
    guest.close()
    await capture.drained()
    await capture.close()
    writer.close()
    return capture


def test_bytes_are_kept_as_they_are(tmp_path: Path) -> None:
    said = bytes(range(256)) * 50
    heard: list[bytes] = []
    with (tmp_path / "log").open("wb") as log:
        capture = asyncio.run(capture_all([said, b"end"], log, listener=heard.append))
    assert (tmp_path / "log").read_bytes() == said + b"end" == b"".join(heard)
    assert (capture.received, capture.dropped, capture.error) == (len(said) + 3, 0, None)


def test_a_hundred_megabytes_in_bounded_memory(tmp_path: Path) -> None:
    block, limit = os.urandom(1 << 20), 3 << 20
    digest = hashlib.sha256()
    tracemalloc.start()
    with (tmp_path / "log").open("wb") as log:
        capture = asyncio.run(capture_all((block for _ in range(100)), log, limit, digest.update))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (tmp_path / "log").read_bytes() == block * 3
    assert (capture.received, capture.dropped) == (100 << 20, 97 << 20)
    assert digest.digest() == hashlib.sha256(block * 100).digest(), "listeners hear all of it"
    assert peak < 16 << 20


def test_a_full_disk_is_remembered_and_does_not_stop_the_guest() -> None:
    heard: list[bytes] = []
    capture = asyncio.run(capture_all([b"x" * 1000] * 1000, Full(), listener=heard.append))
    assert capture.error is not None
    assert capture.error.errno == errno.ENOSPC
    assert capture.received == len(b"".join(heard)) == 1_000_000


def test_settled_waits_for_what_is_still_coming_but_not_for_ever() -> None:
    async def scenario() -> tuple[float, int]:
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        capture = ConsoleCapture(reader, io.BytesIO())
        theirs.setblocking(False)
        theirs.send(b"x" * 50_000)
        await capture.settled(5)
        seen = capture.received

        async def chatter() -> None:
            while True:
                theirs.send(b"x")
                await asyncio.sleep(0.001)

        endless = asyncio.create_task(chatter())
        start = asyncio.get_running_loop().time()
        await capture.settled(0.3)
        spent = asyncio.get_running_loop().time() - start
        endless.cancel()
        await capture.close()
        writer.close()
        theirs.close()
        return spent, seen

    spent, seen = asyncio.run(scenario())
    assert seen == 50_000
    assert spent < 3
