# SPDX-License-Identifier: BSD-2-Clause
"""The port that QEMU forwards, and the line that says the server listens."""

import asyncio
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qemu.qmp import QMPClient

from harness.console.capture import ConsoleCapture
from harness.errors import GuestError
from harness.qemu.ssh_port import ConsoleLine, forwarded_port

USERNET = """Hub -1 (ssh):\r
  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r
  TCP[ESTABLISHED]   37       127.0.0.1 39990       10.0.2.15    22     0     0\r
  TCP[HOST_FORWARD]   3       127.0.0.1 39985       10.0.2.15    22     0     0\r
"""


class Monitor(QMPClient):
    """Answers one command."""

    def __init__(self, answer: str) -> None:
        super().__init__("fake")
        self._answer = answer

    async def execute(self, *_: object, **__: object) -> object:  # type: ignore[override]
        return self._answer


def test_the_port_that_the_host_chose() -> None:
    async def ask() -> int:
        return await forwarded_port(Monitor(USERNET))

    assert asyncio.run(ask()) == 39985


@pytest.mark.parametrize("answer", ["", USERNET.replace("127.0.0.1", "0.0.0.0")])
def test_no_port_of_the_loopback(answer: str) -> None:
    async def ask() -> int:
        return await forwarded_port(Monitor(answer))

    with pytest.raises(GuestError, match=r"forwards no port of 127\.0\.0\.1"):
        asyncio.run(ask())


@given(st.integers(0, 40), st.integers(1, 7))
def test_a_line_in_any_chunking(before: int, size: int) -> None:
    async def scenario() -> None:
        reader = asyncio.StreamReader()
        console = ConsoleCapture(reader, io.BytesIO())
        line = ConsoleLine(console, b"it listens")
        text = b"x" * before + b"it listen" + b"it listens\r\n"
        for at in range(0, len(text), size):
            reader.feed_data(text[at : at + size])
            await asyncio.sleep(0)
        reader.feed_eof()
        async with asyncio.timeout(5):
            await line.seen()
        await console.close()

    asyncio.run(scenario())


def test_a_line_that_does_not_come() -> None:
    async def scenario() -> None:
        reader = asyncio.StreamReader()
        console = ConsoleCapture(reader, io.BytesIO())
        line = ConsoleLine(console, b"it listens")
        reader.feed_data(b"it listen\r\ns")
        reader.feed_eof()
        await console.drained()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await line.seen()
        await console.close()

    asyncio.run(scenario())
