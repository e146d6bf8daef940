# SPDX-License-Identifier: BSD-2-Clause
"""What a trial makes of a guest that gets into trouble before its workload starts."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import arm

from harness.console.capture import ConsoleCapture
from harness.console.guest_channel import CommandResult
from harness.errors import GuestError
from harness.failpoints.grammar import parse_setting
from harness.failpoints.inside import HookFailpoint, Reading
from harness.plan.target import DebuggerModel
from harness.systems.freebsd.ddb import DDB
from harness.trials import trial as module
from harness.trials.trial import TrialRecord, run_trial

CONSOLE = (Path(__file__).parent / "consoles/ddb-amd64.log").read_bytes()
PANIC = b"""\
[   12.000000] BUG: kernel NULL pointer dereference, address: 0000000000000008
[   12.000001] #PF: supervisor write access in kernel mode
[   12.000002] Oops: 0002 [#1] PREEMPT SMP NOPTI
[   12.000003] CPU: 1 PID: 77 Comm: sh Not tainted 6.1.0 #1
[   12.000004] RIP: 0010:hook_set+0x12/0x40
[   12.000005] Call Trace:
[   12.000006]  <TASK>
[   12.000007]  hook_write+0x33/0x60
[   12.000008]  vfs_write+0xcf/0x3d0
[   12.000009]  </TASK>
[   12.000010] ---[ end trace 0000000000000000 ]---
[   12.000011] Kernel panic - not syncing: Fatal exception
"""


def trial_of(
    folder: Path, monkeypatch: pytest.MonkeyPatch, when_set: bytes, before: bytes = b""
) -> TrialRecord:
    async def set_up(_: object) -> None:
        """Nothing is to be set up."""

    @asynccontextmanager
    async def guest(*_: object, **__: object) -> AsyncIterator[Any]:
        reader = asyncio.StreamReader()
        console = ConsoleCapture(reader, io.BytesIO())
        reader.feed_data(before)
        await console.settled(1)
        monkeypatch.setattr(HookFailpoint, "set", feeding(reader, when_set))
        yield SimpleNamespace(
            process=SimpleNamespace(pid=0, argv=[], exit_status=None, cpu_seconds=lambda: 0.0),
            console=console, channel=SimpleNamespace(log_error=None), set_up=set_up,
        )  # fmt: skip
        await console.close()

    monkeypatch.setattr(module, "started_guest", guest)
    monkeypatch.setattr(module, "qemu_version", lambda _: "0")
    prepared = replace(
        arm("buggy"), guest_failpoints=(HookFailpoint("here", "open", parse_setting("return(5)")),)
    )
    return asyncio.run(run_trial(prepared, 1, 0, 7, folder))


class FakeDebugger:
    """What is typed at a console whose kernel stands in DDB, and what it answers."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self.reader = reader

    def write(self, data: bytes) -> None:
        self.reader.feed_data(data.replace(b"\r", b"\r\n") + b"panic: no report\r\ndb> ")

    async def drain(self) -> None:
        """All is written."""


def debugged(
    folder: Path, monkeypatch: pytest.MonkeyPatch, has_debugger: bool = True
) -> TrialRecord:
    """A trial on FreeBSD that panics while its fail points are set, with DDB to be asked."""

    async def run(command: str) -> CommandResult:
        assert command in DDB.setup
        return CommandResult(*((0, b"") if has_debugger else (1, b"unknown to this kernel\n")))

    async def set_up(_: object) -> None:
        """Nothing is to be set up."""

    @asynccontextmanager
    async def guest(*_: object, **__: object) -> AsyncIterator[Any]:
        reader = asyncio.StreamReader()
        console = ConsoleCapture(reader, io.BytesIO())
        stopped = CONSOLE.partition(b"\r\ndb> ")[0] + b"\r\ndb> "
        monkeypatch.setattr(HookFailpoint, "set", feeding(reader, stopped))
        yield SimpleNamespace(
            process=SimpleNamespace(pid=0, argv=[], exit_status=None, cpu_seconds=lambda: 0.0),
            console=console, channel=SimpleNamespace(log_error=None, run=run), set_up=set_up,
            keyboard=FakeDebugger(reader),
        )  # fmt: skip
        await console.close()

    monkeypatch.setattr(module, "started_guest", guest)
    monkeypatch.setattr(module, "qemu_version", lambda _: "0")
    prepared = replace(
        arm("buggy"), system="freebsd", debugger=DebuggerModel(commands=["ps", "alltrace"]),
        guest_failpoints=(HookFailpoint("here", "open", parse_setting("return(5)")),),
    )  # fmt: skip
    return asyncio.run(run_trial(prepared, 1, 0, 7, folder))


def test_a_debugger_is_asked_after_a_panic_and_its_answers_are_no_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = debugged(tmp_path, monkeypatch)
    assert (record.verdict, record.reports) == ("crashed", ["panic: freeing mapped page"])
    assert record.notes == ["ddb: 2 of 2 commands answered"]
    said = "panic: no report\n"
    assert (tmp_path / "ddb.txt").read_text() == f"== ps\n{said}\n== alltrace\n{said}"
    assert (tmp_path / "reports.txt").read_text().startswith("== panic: freeing mapped page\n")


def test_a_kernel_without_a_debugger_is_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = debugged(tmp_path, monkeypatch, has_debugger=False)
    assert record.verdict == "crashed"
    assert record.notes == [
        "the kernel's debugger cannot be asked: `sysctl debug.debugger_on_panic=1`: "
        "unknown to this kernel"
    ]
    assert not (tmp_path / "ddb.txt").exists()


def feeding(reader: asyncio.StreamReader, data: bytes) -> Callable[..., Any]:
    async def fails(*_: object) -> Reading:
        if data:
            reader.feed_data(data)
        raise GuestError("the control channel was closed")

    return fails


def test_a_report_while_failpoints_are_set_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = trial_of(tmp_path, monkeypatch, PANIC)
    assert (record.verdict, len(record.reports)) == ("crashed", 1)
    assert "hook_set" in record.reason


def test_without_a_report_it_is_void(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = trial_of(tmp_path, monkeypatch, b"[   12.0] all is well\n")
    assert (record.verdict, record.reason) == ("void", "the control channel was closed")


def test_a_report_of_the_boot_is_not_the_trial_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = trial_of(tmp_path, monkeypatch, b"", before=PANIC)
    assert (record.verdict, record.reports) == ("void", [])
