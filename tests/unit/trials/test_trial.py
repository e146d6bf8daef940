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
from harness.errors import GuestError
from harness.failpoints.grammar import parse_setting
from harness.failpoints.inside import HookFailpoint, Reading
from harness.trials import trial as module
from harness.trials.trial import TrialRecord, run_trial

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
