# SPDX-License-Identifier: BSD-2-Clause
"""Hangs told apart, and told."""

import json

import pytest

from harness.hangs import Hang, HangKind, StackFrame, Vcpu, hang_as_text
from harness.hangs.classify import classify
from harness.hangs.evidence import Sample


def samples(*places: str) -> tuple[Sample, ...]:
    """`idle`, `user` or a kernel function for each."""
    return tuple(
        Sample(0x1000, place == "idle", place != "user", None if place == "user" else place)
        for place in places
    )


IDLE = Vcpu(0, 0.01, samples(*["idle"] * 20))
LOOP = Vcpu(1, 0.98, samples(*["walk_entries"] * 17, "lapic_next_event", "tick", "idle"))
USER = Vcpu(1, 0.98, samples(*["user"] * 19, "account_user_time"))
BUSY_ALL_OVER = Vcpu(1, 0.98, samples(*(f"function_{n}" for n in range(20))))
NOT_LOOKED_AT = Vcpu(0, 0.02)


@pytest.mark.parametrize(
    ("run_state", "answers", "rate", "vcpus", "kind", "reason"),
    [
        ("running", True, 0, (IDLE, IDLE), "workload-stalled", "vCPU 0 is idle"),
        ("running", True, 0, (IDLE, USER), "workload-stalled", "vCPU 1 is busy in user mode"),
        ("running", True, 0, (IDLE, BUSY_ALL_OVER), "workload-stalled", "vCPU 1 is busy"),
        ("running", False, 0, (IDLE, IDLE), "all-vcpus-idle", "every vCPU waits"),
        ("running", False, 0, (NOT_LOOKED_AT,), "all-vcpus-idle", "every vCPU waits"),
        ("running", False, 0, (IDLE, LOOP), "vcpu-spinning", r"vCPU 1 spins in walk_entries (89%)"),
        ("running", True, 0, (IDLE, LOOP), "vcpu-spinning", "init answers all the same"),
        ("running", False, 0, (USER, USER), "vcpu-spinning", "spins in user mode (95%)"),
        ("running", False, 0, (IDLE, BUSY_ALL_OVER), "unknown", "vCPU 1 is busy"),
        ("running", False, 0, (), "unknown", "not known"),
        ("running", True, 90000, (IDLE, LOOP), "console-flood", "90,000 bytes a second"),
        ("shutdown", False, 0, (IDLE, IDLE), "guest-stopped", "'shutdown'"),
    ],
)
def test_kinds(
    run_state: str, answers: bool, rate: float, vcpus: tuple[Vcpu, ...], kind: str, reason: str
) -> None:
    found, why = classify(run_state, answers, rate, vcpus)
    assert (found, reason in why) == (HangKind(kind), True), why


def test_a_halted_vcpu_whose_thread_is_busy_is_no_spinner() -> None:
    """Interrupts that come all the time: the thread runs, but the vCPU is found waiting."""
    vcpu = Vcpu(0, 0.5, samples(*["idle"] * 15, *["tick"] * 5))
    assert classify("running", False, 0, (vcpu,))[0] is HangKind.ALL_VCPUS_IDLE


def test_under_kvm_a_vcpu_is_never_halted() -> None:
    vcpu = Vcpu(0, 0.01, samples(*["default_idle"] * 20))
    assert classify("running", False, 0, (vcpu,))[0] is HangKind.ALL_VCPUS_IDLE


HANG = Hang(
    kind=HangKind.VCPU_SPINNING,
    reason="vCPU 0 spins in walk_entries (90%); init does not answer",
    run_state="running",
    answers=False,
    answer_seconds=1.5,
    watched_seconds=1.5,
    console_rate=0.0,
    vcpus=(
        Vcpu(
            0,
            0.98,
            samples("walk_entries"),
            {"rax": 0x1F, "rip": 0xFFFFFFFF81000010, "k_gs_base": 5},
            (
                StackFrame(0xFFFFFFFF81000010, "walk_entries", 0x10),
                StackFrame(0xFFFFFFFF81000020, "leftover", 0x20, None, reliable=False),
                StackFrame(0, "lookup", inlined=True, file="mm/a.c", line=7),
                StackFrame(0xFFFFFFFFC0000030, "fill", 0x30, "zram", file="mm/a.c", line=9),
                StackFrame(0xFFFFFFFFC0001230),
            ),
        ),
    ),
    tasks="task 1 \x1b]0;owned\x07\n",
    notes=("a note",),
)


def test_as_text() -> None:
    assert hang_as_text(HANG).splitlines() == [
        "hang: vcpu-spinning",
        "  vCPU 0 spins in walk_entries (90%); init does not answer",
        "  QEMU: running; init did not answer within 1.5 s; console: 0 bytes a second "
        "(watched for 1.5 s)",
        "  note: a note",
        "",
        "vCPU 0: 98% busy, waiting in 0% of 1 samples",
        "  else in: walk_entries 100%",
        "  Call Trace:",
        "   pc: walk_entries+0x10",
        "   ? leftover+0x20",
        "   lookup mm/a.c:7 [inline]",
        "   fill+0x30 [zram] mm/a.c:9",
        "   0xffffffffc0001230",
        "      rax: 000000000000001f    rip: ffffffff81000010",
        "",
        "?: a return address found on the stack that nothing confirms",
        "",
        "tasks:",
        "  task 1 ",
    ]


def test_as_json() -> None:
    data = json.loads(json.dumps(HANG.as_json()))
    assert data["kind"] == "vcpu-spinning"
    assert data["vcpus"][0]["registers"]["rip"] == "0xffffffff81000010"
    assert data["vcpus"][0]["stack"][0]["function"] == "walk_entries"
    assert data["vcpus"][0]["samples"][0]["pc"] == "0x1000"
