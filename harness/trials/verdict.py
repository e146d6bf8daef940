# SPDX-License-Identifier: BSD-2-Clause
"""From what was seen during a trial to its verdict: a pure function, to be re-derived at will."""

from dataclasses import dataclass, field
from enum import StrEnum

from harness.crashes import Report


class Verdict(StrEnum):
    """How a trial ended; the meaning of each is in docs/verdicts.md."""

    REPRODUCED = "reproduced"
    CRASHED = "crashed"
    HUNG = "hung"
    SURVIVED = "survived"
    VOID = "void"


@dataclass(frozen=True)
class SymptomSeen:
    """The target's symptom, and when: seconds since the workload's start by three clocks."""

    name: str
    guest_seconds: float | None
    wall_seconds: float
    cpu_seconds: float
    detail: str


@dataclass
class Observations:
    """What happened in one trial, as far as it got."""

    boot_error: str | None = None
    started: bool = False
    symptoms: list[SymptomSeen] = field(default_factory=list)
    other_reports: list[Report] = field(default_factory=list)
    """Console reports since the workload's start that are no symptom of the target."""
    attempts: int = 0
    attempts_reproduced: int = 0
    attempts_failed: int = 0
    workload_done: bool = False
    workload_error: str | None = None
    workload_status: int | None = None
    plain: bool = False
    """Whether the workload is a program that does not speak the harness's protocol."""
    powered_off: bool = False
    """Whether a test of the boot ended by a power-off or reboot that the guest told of."""
    overdue_seconds: float | None = None
    """How long a plain workload that must end had run when its time was over."""
    silent_seconds: float | None = None
    """Set when the workload showed no life for so long that the trial was ended."""
    hang: str | None = None
    """What the guest was then seen to do: the kind of hang, and why it is that."""
    lost: str | None = None
    """Why the guest could not be driven any more: QEMU's end, a broken control channel."""
    out_of_time: bool = False


@dataclass(frozen=True)
class Judgement:
    """A verdict with its reason in words."""

    verdict: Verdict
    reason: str


_SIGNALLED = range(129, 193)
"""Exit statuses that stand for a signal, 128 and its number of 1 to 64."""
_UNTESTED = range(125, 128)
"""Exit statuses by which a plain workload, or the shell in its place, says that it cannot test."""


def judge(seen: Observations) -> Judgement:
    """The verdict, by the first rule that applies.

    The order is what keeps it honest: the harness's own failures are looked for before silence is
    taken for survival, and a symptom that was seen stands whatever happened after it.
    """
    if seen.boot_error is not None:
        return Judgement(Verdict.VOID, seen.boot_error)
    if seen.symptoms:
        first = seen.symptoms[0]
        return Judgement(Verdict.REPRODUCED, f"{first.name}: {first.detail}")
    if seen.other_reports:
        report = seen.other_reports[0]
        return Judgement(Verdict.CRASHED, report.title)
    if seen.workload_error is not None:
        return Judgement(Verdict.VOID, f"the workload could not run: {seen.workload_error}")
    if seen.lost is not None:
        return Judgement(Verdict.VOID, seen.lost)
    if not seen.started:
        return Judgement(Verdict.VOID, "the workload never started")
    if seen.overdue_seconds is not None:
        found = f": {seen.hang}" if seen.hang is not None else ""
        return Judgement(
            Verdict.HUNG, f"the workload had not ended after {seen.overdue_seconds:.0f} s{found}"
        )
    if seen.silent_seconds is not None:
        found = f": {seen.hang}" if seen.hang is not None else ""
        return Judgement(
            Verdict.HUNG, f"the workload showed no life for {seen.silent_seconds:.0f} s{found}"
        )
    if seen.workload_status is not None and seen.workload_status in _SIGNALLED:
        signal = seen.workload_status - _SIGNALLED.start + 1
        return Judgement(Verdict.CRASHED, f"the workload was ended by signal {signal}")
    if seen.plain:
        return _judge_plain(seen)
    if seen.workload_status is not None and not (seen.workload_done and seen.workload_status == 0):
        return Judgement(
            Verdict.VOID, f"the workload ended with status {seen.workload_status} before its end"
        )
    if seen.attempts and seen.attempts_failed == seen.attempts:
        return Judgement(Verdict.VOID, f"none of {seen.attempts} attempts could be carried out")
    if seen.out_of_time:
        return Judgement(Verdict.SURVIVED, "no symptom until the trial's time was over")
    if seen.workload_done:
        return Judgement(Verdict.SURVIVED, "no symptom until the workload was done")
    return Judgement(Verdict.VOID, "the trial ended without a reason")


def _judge_plain(seen: Observations) -> Judgement:
    """By the exit status: the shell's own, and 125 as `git bisect run` takes it, say nothing."""
    status = seen.workload_status
    if status in _UNTESTED:
        return Judgement(Verdict.VOID, f"the workload ended with status {status}: not tested")
    if failed(seen):
        return Judgement(Verdict.VOID, f"the workload ended with status {status}")
    if status == 0:
        return Judgement(Verdict.SURVIVED, "no symptom until the workload had ended")
    if seen.powered_off:
        return Judgement(Verdict.SURVIVED, "no symptom until the guest switched itself off")
    if seen.out_of_time:
        return Judgement(Verdict.SURVIVED, "no symptom until the trial's time was over")
    return Judgement(Verdict.VOID, "the trial ended without a reason")


def failed(seen: Observations) -> bool:
    """Whether a plain workload itself says, by its exit status, that something is wrong."""
    status = seen.workload_status
    if seen.boot_error is not None or seen.lost is not None:
        return False  # void for another reason: a fault of the host's is nobody's symptom
    return seen.plain and status is not None and status not in {0, *_UNTESTED, *_SIGNALLED}


def ending_of(seen: Observations, judgement: Judgement) -> str | None:
    """How a trial ended, in the words of a symptom's `ending`; None where it is none of them."""
    match judgement.verdict:
        case Verdict.CRASHED:
            return "crashed"
        case Verdict.HUNG:
            return "hung"
        case Verdict.VOID if failed(seen):
            return "failed"
    return None
