# SPDX-License-Identifier: BSD-2-Clause
"""What FreeBSD's two targets take for their symptoms, on what 10.1 and 13.2 printed and cow_churn.c
said."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from fakes import arm

from harness.plan.load import load_target
from harness.qemu.guest import RunningGuest
from harness.stats.sequential import StopRule, blocks_of, decide
from harness.trials.verdict import Verdict, judge
from harness.trials.watch import Watch

PROJECT = Path(__file__).parents[3]
CONSOLES = Path(__file__).parent / "consoles"
FREED = b"panic: freeing mapped page 0xfffffe0000074300"
# sys/vm/vm_object.c: vm_object_collapse()
RE_REFERENCED = (
    b"panic: backing_object 0xfffff800024c8000 was somehow re-referenced during collapse!"
)


def watched(target: str, name: str) -> Watch:
    symptoms = tuple(load_target(PROJECT, target).model.symptom)
    guest = SimpleNamespace(process=SimpleNamespace(pid=0, cpu_seconds=lambda: 0.0))
    prepared = replace(arm(name, symptoms=symptoms), system="freebsd")
    return Watch(prepared, cast(RunningGuest, guest))


def panicked(arch: str) -> bytes:
    return (CONSOLES / f"ddb-{arch}.log").read_bytes().partition(b"\r\ndb> ")[0]


@pytest.mark.parametrize("arch", ["amd64", "amd64-10.1", "arm64"])
@pytest.mark.parametrize("target", ["freebsd-collapse", "freebsd-cow-valid"])
def test_a_freed_page_that_is_mapped(target: str, arch: str) -> None:
    watch = watched(target, "buggy")
    watch.on_console(panicked(arch))
    watch.close_console()
    assert [s.name for s in watch.seen.symptoms] == ["freeing mapped page"]
    assert judge(watch.seen).verdict == Verdict.REPRODUCED


@pytest.mark.parametrize("arch", ["amd64", "amd64-10.1", "arm64"])
def test_the_second_symptom_has_a_signature_of_its_own(arch: str) -> None:
    console = panicked(arch)
    start = console.index(b"panic: freeing mapped page")
    end = console.index(b"\r\n", start)
    watch = watched("freebsd-collapse", "buggy")
    watch.on_console(console[:start] + RE_REFERENCED + console[end:])
    watch.close_console()
    assert [s.name for s in watch.seen.symptoms] == ["re-referenced"]
    assert "re-referenced during collapse" in judge(watch.seen).reason


def test_a_mapped_page_freed_by_something_else_is_another_crash() -> None:
    watch = watched("freebsd-collapse", "buggy")
    watch.on_console(panicked("amd64").replace(b"vm_object_collapse", b"vm_page_reclaim_run"))
    watch.close_console()
    assert judge(watch.seen).verdict == Verdict.CRASHED


def said(event: str, **fields: object) -> bytes:
    return json.dumps({"event": event, "t": 1.0} | fields).encode() + b"\n"


@pytest.mark.parametrize("target", ["freebsd-collapse", "freebsd-cow-valid"])
@pytest.mark.parametrize("signal", [10, 11])
def test_a_fixed_kernel_on_which_faults_fail_is_not_clean(target: str, signal: int) -> None:
    watch = watched(target, "fixed")
    watch.on_output(said("start", pid=14))
    # what cow_churn.c says where one of its processes died (tests/unit/workloads)
    watch.on_output(said("symptom", name="killed", who="worker", signal=signal))
    watch.on_output(said("done", forks=3, killed=1))
    watch.seen.workload_status = 0
    judged = judge(watch.seen)
    assert (judged.verdict, judged.reason) == (
        Verdict.REPRODUCED, f"killed: who worker, signal {signal}",
    )  # fmt: skip
    trials = [(0, "buggy", "reproduced"), (0, "fixed", str(judged.verdict))]
    assert decide(StopRule(confidence=0.95, budget=20), blocks_of(trials)).claim == "fails"


def test_a_workload_whose_first_process_dies_is_not_clean_either() -> None:
    watch = watched("freebsd-collapse", "fixed")
    watch.on_output(said("start", pid=14))
    watch.seen.workload_status = 128 + 11
    assert judge(watch.seen).verdict == Verdict.CRASHED
