# SPDX-License-Identifier: BSD-2-Clause
"""Hangs as symptoms, on recorded ones: the very deadlock is told from everything else."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import ConfigurationError
from harness.hangs import Hang, HangKind, hang_as_text
from harness.hangs.evidence import Awaited, GuestThread, StackFrame
from harness.hangs.signature import HangSignature, WaitSignature
from harness.hangs.tasks import tasks_as_threads
from harness.plan.load import load_target
from harness.plan.symptom import SymptomModel

PROJECT = Path(__file__).resolve().parents[3]
RECORDED = Path(__file__).with_name("recorded")


def recorded(name: str) -> Hang:
    """A hang of the target mach-port-names as a trial wrote it to hang.json."""
    return Hang.from_json(json.loads((RECORDED / f"{name}.json").read_bytes()))


def symptoms() -> list[SymptomModel]:
    return load_target(PROJECT, "mach-port-names").model.symptom


def matching(hang: Hang) -> list[str]:
    return [s.name for s in symptoms() if s.hang is not None and s.hang.match(hang).matched]


def test_recorded_hangs_read_back_as_they_were_written() -> None:
    for file in sorted(RECORDED.glob("*.json")):
        data = json.loads(file.read_bytes())
        assert json.loads(json.dumps(Hang.from_json(data).as_json())) == data


@pytest.mark.parametrize(
    ("name", "kind", "found"),
    [
        ("gnumach-deadlock", HangKind.WORKLOAD_STALLED, ["deadlock"]),
        ("gnumach-livelock", HangKind.VCPU_SPINNING, ["livelock"]),
        # the same on the fixed kernel: the walk went into a freed entry
        ("gnumach-freed-neighbour", HangKind.VCPU_SPINNING, ["livelock"]),
        # an assertion has stopped one vCPU in the debugger, and another spins for an answer of it
        ("gnumach-debugger", HangKind.VCPU_SPINNING, ["livelock"]),
        # alive, on a host that gave it six per cent of a processor
        ("gnumach-slow", HangKind.VCPU_SPINNING, []),
        ("gnumach-stalled-host", HangKind.ALL_VCPUS_IDLE, []),
    ],
)
def test_kinds_of_hangs_are_told_apart(name: str, kind: HangKind, found: list[str]) -> None:
    hang = recorded(name)
    assert hang.kind == kind
    assert [text.split()[0].strip(":") for text in matching(hang)] == found


def test_the_deadlock_is_told_with_both_waits() -> None:
    deadlock = next(s.hang for s in symptoms() if s.hang is not None and s.hang.waits)
    hang = recorded("gnumach-deadlock")

    match = deadlock.match(hang)

    assert match.matched
    assert "vm_map_verify waiting for lock ipc_kernel_map with want_write 1" in match.why
    assert "vm_fault_page waiting for page with busy 1, wanted 1" in match.why
    text = hang_as_text(hang)
    assert "(lock of ipc_kernel_map): want_write 1, want_upgrade 0, read_count 0" in text
    assert "busy 1, wanted 1" in text
    assert "vm_map_verify+0x12 vm/vm_map.c:4987" in text


def test_each_wait_is_another_thread() -> None:
    deadlock = next(s.hang for s in symptoms() if s.hang is not None and s.hang.waits)
    hang = recorded("gnumach-deadlock")
    page = next(t for t in hang.threads if t.awaits is not None and t.awaits.kind == "page")

    without = deadlock.match(replace(hang, threads=tuple(t for t in hang.threads if t != page)))
    free = replace(page, awaits=Awaited("page", 1, state={"busy": 0, "wanted": 1}))
    not_busy = deadlock.match(
        replace(hang, threads=tuple(free if t == page else t for t in hang.threads))
    )

    assert not without.matched
    assert "no thread of 15 is in vm_map_pageable_scan, vm_fault_unwire" in without.why
    assert not not_busy.matched
    twice = HangSignature(
        waits=(WaitSignature(on="page"), WaitSignature(frames=("vm_fault_page",)))
    )
    assert "the same thread" in twice.match(hang).why


def test_a_hang_without_threads_says_so() -> None:
    hang = replace(recorded("gnumach-deadlock"), threads=())
    assert HangSignature(waits=(WaitSignature(on="lock"),)).match(hang).why == (
        "nothing is known of the guest's threads"
    )


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (HangSignature, "would match every hang"),
        (lambda: HangSignature(kind="dead"), "unknown kind of hang 'dead'"),
        (WaitSignature, "would match every thread"),
        (lambda: WaitSignature(name="("), "no regular expression"),
    ],
)
def test_a_signature_that_says_nothing_is_refused(make: type[object], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        make()


LINUX_TASKS = """\
task 71 of process 71 (storm): state D, CPU 0, system call 257 0xffffff9c
  [<0>] rwsem_down_write_slowpath+0x2ec/0x480
  [<0>] xfs_file_read_iter+0x69/0xc0 [xfs]
task 72 of process 71 (storm): state R, CPU 1, system call running
"""


def test_stacks_of_linux_tasks_are_threads() -> None:
    threads = tasks_as_threads(LINUX_TASKS, "linux")
    assert threads == (
        GuestThread(
            "task 71 of process 71 (storm)",
            "state D",
            (
                StackFrame(0, "rwsem_down_write_slowpath", 0x2EC),
                StackFrame(0, "xfs_file_read_iter", 0x69, "xfs"),
            ),
        ),
        GuestThread("task 72 of process 71 (storm)", "state R"),
    )
    hang = replace(recorded("gnumach-deadlock"), threads=threads)
    assert HangSignature(waits=(WaitSignature(frames=("xfs_file_read_iter",)),)).match(hang).matched
    assert tasks_as_threads(LINUX_TASKS, "freebsd") == ()
