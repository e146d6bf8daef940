# SPDX-License-Identifier: BSD-2-Clause
"""Asking a kernel's own debugger, on the console, about the crash or hang that a trial has met."""

import asyncio
import time
from dataclasses import dataclass

from harness.console.text import printable
from harness.plan.target import DebuggerModel
from harness.qemu.guest import RunningGuest
from harness.qemu.starvation import Starvation
from harness.systems.base import Debugger

_TICK_SECONDS = 0.1
"""A prompt counts once nothing has come behind it for so long: an answer may quote one."""
_STARVED_TIMES = 10
"""The debugger gets so many times as long where its host is too busy to run it."""
_LAST_WORDS_SECONDS = 1.0
"""For what a kernel that has gone had printed to be read."""
_MOST_BYTES = 1 << 20
"""Of one answer that are kept."""
_TAIL_BYTES = 256
"""Of the console's end in which prompts are looked for."""


@dataclass(frozen=True)
class Answer:
    """What was printed after a command, in the order in which they were asked.

    `missed` says why there is no whole answer, and is empty where there is.
    """

    command: str
    output: bytes
    missed: str = ""


@dataclass(frozen=True)
class Interrogation:
    """All that a debugger was asked; `missed` says why it was asked nothing, if so."""

    answers: tuple[Answer, ...]
    missed: str = ""

    def as_text(self) -> str:
        """Command by command, fit for a person's terminal, with what was missed."""
        if self.missed:
            return f"{self.missed}\n"
        parts = []
        for answer in self.answers:
            said = printable(answer.output).strip("\n")
            missed = f"\n({answer.missed})" if answer.missed else ""
            parts.append(f"== {answer.command}\n{said}{missed}\n")
        return "\n".join(parts)

    def summary(self, name: str) -> str:
        """In a line, for a trial's notes."""
        if self.missed:
            return f"{name}: {self.missed}"
        missed = next((f"; {a.command}: {a.missed}" for a in self.answers if a.missed), "")
        whole = sum(not answer.missed for answer in self.answers)
        return f"{name}: {whole} of {len(self.answers)} commands answered{missed}"


async def ask_debugger(
    guest: RunningGuest, debugger: Debugger, order: DebuggerModel, heard: bytes, *, stopped: bool
) -> Interrogation:
    """Types the commands of `order` at the debugger's prompt, each when the last is answered.

    `heard` is the end of what the console has printed so far; `stopped` says that the kernel has
    crashed, so that the prompt is there or comes by itself. Another one is broken into. Takes at
    most `order.seconds` for the prompt, twice, and for each command, time in which QEMU waited for
    a processor not counted. Nothing is raised: what could not be had is said in the result.
    """
    talk = _Dialogue(guest, debugger, order.seconds, heard)
    guest.console.listen(talk.hear)
    try:
        if (missed := await talk.find_prompt(stopped=stopped)) is not None:
            return Interrogation((), missed)
        for command in debugger.first:
            answer = await talk.ask(command)
            if answer.missed:
                return Interrogation((), f"{command}: {answer.missed}")
        answers: list[Answer] = []
        for command in order.commands:
            if answers and answers[-1].missed:
                answers.append(Answer(command, b"", "not asked any more"))
            else:
                answers.append(await talk.ask(command))
        return Interrogation(tuple(answers))
    finally:
        guest.console.ignore(talk.hear)


class _Dialogue:
    """The console's two directions."""

    def __init__(
        self, guest: RunningGuest, debugger: Debugger, seconds: float, heard: bytes
    ) -> None:
        self._guest = guest
        self._debugger = debugger
        self._seconds = seconds
        self._tail = heard[-_TAIL_BYTES:]
        self._answer = bytearray()
        self._received = 0

    def hear(self, data: bytes) -> None:
        """Takes in what the console prints."""
        self._received += len(data)
        self._tail = (self._tail + data)[-_TAIL_BYTES:]
        self._answer += data[: max(0, _MOST_BYTES - len(self._answer))]

    async def find_prompt(self, *, stopped: bool) -> str | None:
        """Returns at the prompt; or why there is none."""
        missed = await self._prompted() if stopped else ""
        if missed is None or self._guest.process.exit_status is not None:
            return missed
        return await self._type(self._debugger.break_in) or await self._prompted()

    async def ask(self, command: str) -> Answer:
        """Types a command and waits for its answer's end."""
        missed = await self._type(command.encode() + b"\r")
        missed = missed or await self._prompted()
        said = bytes(self._answer)
        cut = self._received - len(said)
        if not missed:
            missed = f"the last {cut} bytes of the answer are not kept" if cut > 0 else ""
            said = self._debugger.prompt.sub(b"", said)
        echo, end, output = said.partition(b"\n")
        return Answer(command, output if end else echo, missed)

    async def _type(self, data: bytes) -> str | None:
        self._tail = b""
        self._answer.clear()
        self._received = 0
        try:
            self._guest.keyboard.write(data)
            async with asyncio.timeout(self._seconds):
                await self._guest.keyboard.drain()
        except (OSError, TimeoutError) as error:
            return f"the console takes no input: {str(error) or 'it is full'}"
        return None

    async def _prompted(self) -> str | None:
        """Returns when the prompt has come and nothing behind it; or why it has not."""
        starvation, starved = Starvation(self._guest.process.pid), 0.0
        started, before = time.monotonic(), -1
        while True:
            if before == self._received:
                if self._debugger.prompt.search(self._tail):
                    return None
                if self._debugger.pager.search(self._tail):
                    self._tail = b""
                    self._guest.keyboard.write(self._debugger.go_on)
            if (status := self._guest.process.exit_status) is not None:
                await self._guest.console.settled(_LAST_WORDS_SECONDS)
                return f"no prompt: QEMU ended with status {status}"
            starved = min(starved + starvation.waited(), (_STARVED_TIMES - 1) * self._seconds)
            if time.monotonic() - started - starved > self._seconds:
                return f"no prompt within {self._seconds:g} s"
            before = self._received
            await asyncio.sleep(_TICK_SECONDS)
