# SPDX-License-Identifier: BSD-2-Clause
"""Asking DDB, against what FreeBSD 10.1 and 13.2 answered, and against debuggers that misbehave."""

import asyncio
import io
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from harness.console.capture import ConsoleCapture
from harness.plan.target import DebuggerModel
from harness.qemu.guest import RunningGuest
from harness.systems.freebsd.ddb import DDB
from harness.trials.debugger import Interrogation, ask_debugger

RECORDED = {
    arch: (Path(__file__).parent / "consoles" / f"ddb-{arch}.log").read_bytes()
    for arch in ("amd64", "amd64-10.1", "arm64")
}
SCRIPT = ("show pcpu", "show page", "ps", "alltrace")
PANIC = b"panic: here\r\ncpuid = 0\r\nKDB: enter: panic\r\nStopped at      kdb_enter+0x37\r\n"
PROMPT = b"\r\ndb> "


def recorded_answers(console: bytes) -> tuple[bytes, dict[str, bytes]]:
    """The console up to the first prompt, and what was printed behind each command."""
    before, *turns = console.split(PROMPT)
    typed = [turn.partition(b"\r\n") for turn in turns if turn]
    return before, {command.decode(): answer for command, _, answer in typed}


class FakeGuest:
    """A kernel in its debugger: `answer` gives what follows a command, None for nothing at all."""

    pid = 0

    def __init__(
        self, answer: Callable[[str], bytes | None], console: bytes = b"", late: bytes = b""
    ) -> None:
        self.answer, self.before, self.late = answer, console, late
        self.typed: list[bytes] = []
        self.exit_status: int | None = None
        self._line = b""

    def write(self, data: bytes) -> None:
        self._closed = self.exit_status is not None
        self.typed.append(data)
        self._line += data
        for end in (b"\r", DDB.go_on, DDB.break_in):
            if self._line.endswith(end):
                line, self._line = self._line, b""
                said = self.answer(line.decode().removesuffix("\r"))
                self.reader.feed_data(line.replace(b"\r", b"\r\n") + (said or b""))

    async def drain(self) -> None:
        if self._closed:
            raise ConnectionResetError("the line is closed")

    def asked(
        self, *commands: str, seconds: float = 5.0, stopped: bool = True
    ) -> tuple[Interrogation, bytes]:
        """What came of it, and what a listener heard of the console after it."""
        order = DebuggerModel(commands=list(commands), seconds=seconds)

        async def ask() -> tuple[Interrogation, bytes]:
            self.reader = asyncio.StreamReader()
            console = ConsoleCapture(self.reader, io.BytesIO())
            guest = cast(
                RunningGuest, SimpleNamespace(process=self, console=console, keyboard=self)
            )
            asyncio.get_running_loop().call_later(0.4, self.reader.feed_data, self.late)
            asked = await ask_debugger(guest, DDB, order, self.before, stopped=stopped)
            later = bytearray()
            console.listen(later.extend)
            self.reader.feed_data(b"later")
            await console.settled(1)
            await console.close()
            return asked, bytes(later)

        return asyncio.run(ask())


def prompting(answers: dict[str, bytes]) -> Callable[[str], bytes | None]:
    return lambda command: answers.get(command, b"No such command") + PROMPT


@pytest.mark.parametrize("arch", sorted(RECORDED))
def test_what_freebsd_answered_is_kept_command_by_command(arch: str) -> None:
    before, answers = recorded_answers(RECORDED[arch])
    guest = FakeGuest(prompting(answers), before + PROMPT)
    asked, later = guest.asked(*SCRIPT)
    assert guest.typed == [f"{c}\r".encode() for c in ("set $lines = 0", *SCRIPT)]
    assert [(a.command, a.missed) for a in asked.answers] == [(c, "") for c in SCRIPT]
    assert [a.output.strip() for a in asked.answers] == [answers[c].strip() for c in SCRIPT]
    assert asked.summary("ddb") == "ddb: 4 of 4 commands answered"
    text = asked.as_text()
    assert text.startswith("== show pcpu\ncpuid        = ")
    assert re.search(r"\n\n== show page\n(vm_)?cnt\.v_free_count: ", text)
    assert "vm_object_collapse" in text.partition("== alltrace")[2]
    assert "\r" not in text
    assert later == b"later"


def test_a_kernel_that_runs_is_broken_into() -> None:
    def answer(typed: str) -> bytes | None:
        broke = "KDB: enter: Break to debugger" if typed.encode() == DDB.break_in else "ok"
        return broke.encode() + PROMPT

    guest = FakeGuest(answer, b"login: ")
    asked, _ = guest.asked("ps", stopped=False)
    assert guest.typed[0] == b"\r~\x02"
    assert asked.answers[0].output == b"ok\r\n"


def test_a_prompt_that_comes_late_is_waited_for() -> None:
    guest = FakeGuest(prompting({"ps": b"a"}), PANIC, late=PROMPT)
    asked, _ = guest.asked("ps")
    assert asked.answers[0].output == b"a\r\n"
    assert guest.typed[0] == b"set $lines = 0\r"


def test_without_a_prompt_nothing_is_asked() -> None:
    guest = FakeGuest(lambda _: None, PANIC)
    asked, _ = guest.asked("ps", seconds=0.3)
    assert asked.answers == ()
    assert asked.summary("ddb") == "ddb: no prompt within 0.3 s"
    assert asked.as_text() == "no prompt within 0.3 s\n"
    assert guest.typed == [DDB.break_in]


def test_a_command_that_does_not_end_ends_the_questions() -> None:
    guest = FakeGuest(
        lambda typed: b"Tracing command init\r\n" if typed == "alltrace" else b"fine" + PROMPT,
        PANIC + PROMPT,
    )
    asked, _ = guest.asked("ps", "alltrace", "show page", seconds=0.4)
    assert [a.missed for a in asked.answers] == ["", "no prompt within 0.4 s", "not asked any more"]
    assert asked.answers[1].output == b"Tracing command init\r\n"
    assert asked.summary("ddb") == (
        "ddb: 1 of 3 commands answered; alltrace: no prompt within 0.4 s"
    )
    assert "== alltrace\nTracing command init\n(no prompt within 0.4 s)\n" in asked.as_text()
    assert "== show page\n\n(not asked any more)\n" in asked.as_text()


def test_an_answer_that_quotes_the_prompt_goes_on() -> None:
    quoted = b"the log:" + PROMPT + b"ps\r\nend of the log"
    asked, _ = FakeGuest(prompting({"show msgbuf": quoted}), PANIC + PROMPT).asked("show msgbuf")
    assert asked.answers[0].output == quoted + b"\r\n"


def test_a_pager_is_told_to_go_on() -> None:
    pages = iter([b"one\r\n--More--\r", b"two\r\n--More--\r", b"three" + PROMPT])
    guest = FakeGuest(lambda typed: next(pages) if typed in {"ps", " "} else PROMPT, PANIC + PROMPT)
    asked, _ = guest.asked("ps")
    assert asked.answers[0].missed == ""
    assert [word in asked.as_text() for word in ("one", "two", "three")] == [True] * 3
    assert guest.typed == [b"set $lines = 0\r", b"ps\r", b" ", b" "]


def test_a_guest_that_ends_meanwhile() -> None:
    def answer(typed: str) -> bytes | None:
        if typed == "ps":
            guest.exit_status = 0
            return b"panic: once more\r\n"
        return PROMPT

    guest = FakeGuest(answer, PANIC + PROMPT)
    asked, _ = guest.asked("ps", "alltrace")
    assert [a.missed for a in asked.answers] == [
        "no prompt: QEMU ended with status 0", "not asked any more",
    ]  # fmt: skip
    assert asked.answers[0].output == b"panic: once more\r\n"


def test_a_guest_that_has_ended_is_not_typed_at() -> None:
    guest = FakeGuest(lambda _: None, PANIC)
    guest.exit_status = 0
    asked, _ = guest.asked("ps")
    assert (asked.missed, guest.typed) == ("no prompt: QEMU ended with status 0", [])


def test_a_console_without_end_is_cut() -> None:
    flood = b"x" * 79 + b"\r\n"
    asked, _ = FakeGuest(prompting({"ps": flood * 20_000}), PANIC + PROMPT).asked("ps")
    (answer,) = asked.answers
    assert len(answer.output) == (1 << 20) - len(b"ps\r\n")
    assert answer.missed.startswith("the last 5")


def test_escape_sequences_do_not_reach_a_terminal() -> None:
    asked, _ = FakeGuest(prompting({"ps": b"\x1b[2Jclean\x07"}), PANIC + PROMPT).asked("ps")
    assert asked.as_text() == "== ps\nclean\n"


@pytest.mark.parametrize("command", ["", " ps", "ps ", "ps\rreset", "a\nb", "caf\xe9"])
def test_commands_are_of_printable_characters(command: str) -> None:
    with pytest.raises(ValueError, match="commands"):
        DebuggerModel(commands=[command])
