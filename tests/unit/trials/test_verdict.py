# SPDX-License-Identifier: BSD-2-Clause
"""Every rule of the verdict, and what must never be concluded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.crashes import Report
from harness.crashes.report import Kind
from harness.trials.verdict import Observations, SymptomSeen, Verdict, ending_of, judge

SYMPTOM = SymptomSeen("lost update", 1.0, 1.0, 1.0, "page 3")
REPORT = Report(
    system="linux", kind=Kind.PANIC, title="kernel panic: oh", alt_titles=(), function=None,
    frames=(), start=0, end=9, corrupted=False, corrupted_reason=None, complete=True, fatal=True,
)  # fmt: skip

V = Verdict
TABLE = [
    ("done", Observations(started=True, workload_done=True, workload_status=0), V.SURVIVED, "done"),
    ("time", Observations(started=True, out_of_time=True), V.SURVIVED, "time was over"),
    ("symptom", Observations(started=True, symptoms=[SYMPTOM]), V.REPRODUCED, "lost update"),
    (
        "a symptom stands whatever happened afterwards",
        Observations(
            started=True, symptoms=[SYMPTOM], other_reports=[REPORT], lost="QEMU ended",
            workload_error="no", workload_status=139, silent_seconds=40,
        ),
        V.REPRODUCED,
        "page 3",
    ),
    ("report", Observations(started=True, other_reports=[REPORT]), V.CRASHED, "panic: oh"),
    (
        "a panic that ended QEMU is a crash",
        Observations(started=True, other_reports=[REPORT], lost="QEMU ended with status 0"),
        V.CRASHED,
        "panic: oh",
    ),
    ("silence", Observations(started=True, silent_seconds=31.2), V.HUNG, "31 s"),
    ("signal", Observations(started=True, workload_status=139), V.CRASHED, "signal 11"),
    ("boot", Observations(boot_error="not ready"), V.VOID, "not ready"),
    ("boot, symptom of nothing", Observations(boot_error="no", symptoms=[SYMPTOM]), V.VOID, "no"),
    ("lost", Observations(started=True, lost="QEMU ended"), V.VOID, "QEMU ended"),
    (
        "lost after the workload's end",
        Observations(started=True, workload_done=True, workload_status=0, lost="QEMU ended"),
        V.VOID,
        "QEMU ended",
    ),
    (
        "lost while silent: the silence is QEMU's, not the guest's",
        Observations(started=True, silent_seconds=31, lost="QEMU does not answer"),
        V.VOID,
        "does not answer",
    ),
    (
        "error",
        Observations(started=True, workload_error="no zram", workload_status=2),
        V.VOID,
        "no zram",
    ),
    ("nothing started", Observations(), V.VOID, "never started"),
    ("silent from the start", Observations(silent_seconds=31), V.VOID, "never started"),
    ("time was over from the start", Observations(out_of_time=True), V.VOID, "never started"),
    ("no such program", Observations(workload_status=127), V.VOID, "never started"),
    ("killed before its start", Observations(workload_status=139), V.VOID, "never started"),
    ("status", Observations(started=True, workload_status=3), V.VOID, "status 3 before its end"),
    (
        "status after done",
        Observations(started=True, workload_done=True, workload_status=3),
        V.VOID,
        "status 3",
    ),
    ("no signal", Observations(started=True, workload_status=250), V.VOID, "status 250"),
    ("ended without done", Observations(started=True, workload_status=0), V.VOID, "status 0"),
    (
        "no attempt could be carried out",
        Observations(
            started=True, workload_done=True, workload_status=0, attempts=4, attempts_failed=4
        ),
        V.VOID,
        "none of 4 attempts",
    ),
    (
        "some attempts could be",
        Observations(
            started=True, workload_done=True, workload_status=0, attempts=4, attempts_failed=3
        ),
        V.SURVIVED,
        "done",
    ),
    ("no reason", Observations(started=True), V.VOID, "without a reason"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("seen", "verdict", "words"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_each_rule(seen: Observations, verdict: Verdict, words: str) -> None:
    judgement = judge(seen)
    assert (judgement.verdict, words in judgement.reason) == (verdict, True), judgement


observations = st.builds(
    Observations,
    boot_error=st.none() | st.just("boot"),
    started=st.booleans(),
    symptoms=st.just([]) | st.just([SYMPTOM]),
    other_reports=st.just([]) | st.just([REPORT]),
    attempts=st.integers(0, 3),
    attempts_reproduced=st.integers(0, 3),
    attempts_failed=st.integers(0, 3),
    workload_done=st.booleans(),
    workload_error=st.none() | st.just("error"),
    workload_status=st.none() | st.integers(0, 255),
    silent_seconds=st.none() | st.floats(1, 99),
    lost=st.none() | st.just("lost"),
    out_of_time=st.booleans(),
)


@given(observations)
def test_the_harness_own_faults_are_never_evidence(seen: Observations) -> None:
    verdict = judge(seen).verdict
    if seen.boot_error is not None:
        assert verdict == Verdict.VOID
    if seen.lost is not None and not seen.symptoms:
        assert verdict in (Verdict.VOID, Verdict.CRASHED)
        assert verdict == Verdict.VOID or seen.other_reports
    if (seen.workload_error or not seen.started) and not seen.symptoms:
        assert verdict in (Verdict.VOID, Verdict.CRASHED)


@given(observations)
def test_reproduced_needs_a_symptom_and_survival_a_life_to_its_end(seen: Observations) -> None:
    verdict = judge(seen).verdict
    if verdict == Verdict.REPRODUCED:
        assert seen.symptoms
    if verdict == Verdict.SURVIVED:
        assert seen.started
        assert not (seen.symptoms or seen.other_reports or seen.lost or seen.workload_error)
        assert seen.out_of_time or (seen.workload_done and seen.workload_status in (0, None))
    assert judge(seen).reason


PLAIN = [
    (0, V.SURVIVED, None),
    (1, V.VOID, "failed"),
    (124, V.VOID, "failed"),
    (125, V.VOID, None),
    (127, V.VOID, None),
    (139, V.CRASHED, "crashed"),
    (255, V.VOID, "failed"),
]


@pytest.mark.parametrize(("status", "verdict", "ending"), PLAIN)
def test_a_plain_workload_is_judged_by_its_status(
    status: int, verdict: Verdict, ending: str | None
) -> None:
    seen = Observations(started=True, plain=True, workload_status=status)
    judgement = judge(seen)
    assert judgement.verdict == verdict
    assert ending_of(seen, judgement) == ending


@pytest.mark.parametrize(
    "seen",
    [
        Observations(started=True, plain=True, workload_status=1, lost="QEMU ended"),
        Observations(started=True, plain=True, workload_status=1, boot_error="QEMU ended"),
    ],
)
def test_a_status_beside_a_fault_of_the_host_is_no_symptom(seen: Observations) -> None:
    judgement = judge(seen)
    assert (judgement.verdict, judgement.reason) == (V.VOID, "QEMU ended")
    assert ending_of(seen, judgement) is None


def test_a_plain_workload_needs_no_end() -> None:
    judgement = judge(Observations(started=True, plain=True, out_of_time=True))
    assert judgement.verdict == V.SURVIVED


def test_a_workload_that_must_end_hangs_when_it_does_not() -> None:
    seen = Observations(started=True, plain=True, overdue_seconds=7.2, hang="deadlock: two wait")
    judgement = judge(seen)
    assert judgement.verdict == V.HUNG
    assert "not ended after 7 s: deadlock: two wait" in judgement.reason
    assert ending_of(seen, judgement) == "hung"


def test_a_boot_that_switches_itself_off_survived() -> None:
    seen = Observations(started=True, plain=True, powered_off=True)
    assert judge(seen).verdict == V.SURVIVED
    assert judge(
        Observations(started=True, plain=True, lost="QEMU ended with status 1")
    ).verdict == (V.VOID)
