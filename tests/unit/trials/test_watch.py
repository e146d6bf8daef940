# SPDX-License-Identifier: BSD-2-Clause
"""What a trial keeps of a workload's lines."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from fakes import arm

from harness.errors import InfrastructureError
from harness.hangs import Hang, HangKind
from harness.hangs.evidence import Awaited, GuestThread
from harness.plan.needs import PlainModel
from harness.plan.symptom import SymptomModel
from harness.qemu.guest import GuestFiles, RunningGuest
from harness.trials.arm import PreparedArm
from harness.trials.verdict import Verdict, judge
from harness.trials.watch import Watch, _record_hang


def watch() -> Watch:
    nobody = SimpleNamespace(
        system="linux", symptoms=(), has_holds=False, plain=None, boot_only=False
    )
    guest = SimpleNamespace(process=SimpleNamespace(pid=0, cpu_seconds=lambda: 0.0))
    return Watch(cast(PreparedArm, nobody), cast(RunningGuest, guest))


def line(event: str, **fields: object) -> bytes:
    return json.dumps({"event": event, "t": 0.5} | fields).encode() + b"\n"


def test_the_last_heartbeat_is_kept_where_the_workload_never_ends() -> None:
    seen = watch()
    seen.on_output(line("start", pid=1))
    seen.on_output(line("heartbeat", operations=1, pgmigrate_fail=3))
    seen.on_output(line("heartbeat", operations=2, pgmigrate_fail=7))
    seen.on_output(line("attempt", n=1, outcome="survived"))
    assert seen.last_fields == {"operations": 2, "pgmigrate_fail": 7}


def test_the_workloads_own_totals_are_kept_where_it_ends() -> None:
    seen = watch()
    seen.on_output(line("heartbeat", operations=1))
    seen.on_output(line("done", operations=9))
    assert seen.last_fields == {"operations": 9}


def test_a_heartbeat_without_progress_is_no_sign_of_life() -> None:
    seen = watch()
    for time, progress in [(1.0, [4, 4]), (2.0, [4, 5]), (3.0, [4, 5]), (4.0, [4, 5])]:
        seen.on_output(line("heartbeat", progress=progress, t=time))
    assert seen.guest_seconds == 2.0
    seen.on_output(line("heartbeat", operations=1, t=5.0))
    assert seen.guest_seconds == 5.0


def test_a_hang_is_the_symptom_that_it_matches_or_none() -> None:
    deadlock = Hang(
        kind=HangKind.WORKLOAD_STALLED, reason="init answers", run_state="running", answers=True,
        answer_seconds=0.1, watched_seconds=1.0, console_rate=0.0, vcpus=(),
        threads=(GuestThread("storm", "waiting", awaits=Awaited("lock", 16, "map", {"held": 1})),),
    )  # fmt: skip
    symptom = SymptomModel.model_validate(
        {"name": "deadlock", "hang": {"waits": [{"on": "lock", "state": {"held": 1}}]}}
    )
    spinning = SymptomModel.model_validate({"name": "livelock", "hang": {"spins": ["walk"]}})
    seen = watch()
    seen.arm = replace(arm("buggy", symptoms=(spinning, symptom)))
    seen.on_output(line("heartbeat", progress=[1], t=3.0))

    seen.on_hang(deadlock)

    assert [(s.name, s.guest_seconds) for s in seen.seen.symptoms] == [("deadlock", 3.0)]
    assert seen.notes[0] == "hang: livelock: no busy vCPU is in walk"
    other = watch()
    other.arm = replace(arm("buggy", symptoms=(spinning,)))
    other.on_hang(deadlock)
    assert not other.seen.symptoms
    assert other.seen.hang == "workload-stalled: init answers"


def _kcsan(what: str) -> bytes:
    ruler = "=" * 66
    return (
        f"{ruler}\nBUG: KCSAN: {what} in toy_put / toy_walk\n\n"
        "write to 0xffff888004a3c010 of 8 bytes by task 300 on cpu 0:\n toy_put+0x11/0x20\n\n"
        "read to 0xffff888004a3c010 of 8 bytes by task 301 on cpu 1:\n toy_walk+0x22/0x60\n\n"
        f"Reported by Kernel Concurrency Sanitizer on:\n{ruler}\n"
    ).encode()


def test_a_data_race_counts_where_a_symptom_names_it() -> None:
    race = "KCSAN: data-race in toy_put / toy_walk"
    seen = watch()
    seen.on_console(_kcsan("data-race"))
    assert [report.title for report in seen.reports] == [race]
    assert not seen.seen.other_reports and not seen.shows_trouble
    assert seen.notes == [f"not counted, a data race that no symptom names: {race}"]

    named = watch()
    symptom = SymptomModel.model_validate({"name": "race", "console": {"function": "toy_put"}})
    named.arm = replace(arm("buggy", symptoms=(symptom,)))
    named.on_console(_kcsan("data-race"))
    assert [found.detail for found in named.seen.symptoms] == [race]


def test_a_race_that_the_kernel_was_asked_to_exclude_is_a_crash() -> None:
    seen = watch()
    seen.on_console(_kcsan("assert: race"))
    assert [report.title for report in seen.seen.other_reports] == [
        "KCSAN: assert: race in toy_put / toy_walk"
    ]


def plain(*symptoms: SymptomModel, boot_only: bool = False) -> Watch:
    prepared = replace(
        arm("run", symptoms=symptoms),
        plain=None if boot_only else PlainModel(command="exec {workload}"),
        boot_only=boot_only,
    )
    guest = SimpleNamespace(process=SimpleNamespace(pid=0, cpu_seconds=lambda: 0.0))
    return Watch(prepared, cast(RunningGuest, guest))


LOST = SymptomModel(name="lost", output="lost update: .* found [0-9]")


def test_a_line_of_a_plain_workload_is_a_symptom_and_ends_the_trial() -> None:
    seen = plain(LOST)
    for part in (b"nothing\nlost upd", b"ate: expected 4, found 3\r\nmore"):
        assert not seen.ended.is_set()
        seen.on_output(part)
    assert seen.ended.is_set()
    assert [(s.name, s.detail) for s in seen.seen.symptoms] == [
        ("lost", "lost update: expected 4, found 3")
    ]
    assert seen.plain is not None
    assert seen.plain.kept == b"nothing\nlost update: expected 4, found 3\r\nmore"


def test_json_of_a_plain_workload_means_nothing() -> None:
    seen = plain(LOST)
    seen.on_output(line("symptom", name="lost") + line("done"))
    assert not seen.seen.symptoms and not seen.seen.workload_done


def test_a_boot_s_console_is_searched_by_lines() -> None:
    seen = plain(LOST, boot_only=True)
    seen.on_console(b"[    1.0] lost update: x found 1\n")
    assert seen.seen.symptoms[0].name == "lost"


def test_a_workload_that_must_end_is_overdue() -> None:
    seen = plain()
    seen.arm = replace(
        seen.arm, trial_seconds=0.0, plain=PlainModel(command="sleep 9", must_end=True)
    )
    seen.check_time()
    assert seen.hung and seen.seen.overdue_seconds is not None and not seen.seen.out_of_time


def watch_that_ran(seconds: float, *, quiet: float) -> Watch:
    """A watch over a trial of 20 s with heartbeats of 10 s, of a host that was too busy."""
    seen = watch()
    seen.arm = replace(arm("buggy"), heartbeat_seconds=10.0, trial_seconds=20.0)
    seen.seen.started = True
    seen._wall_start -= seconds
    seen._alive_at = seconds - quiet, 0.0
    return seen


def test_a_trial_is_over_while_its_workload_shows_life() -> None:
    seen = watch_that_ran(21.0, quiet=0.5)
    seen.check_time()
    assert seen.seen.out_of_time and seen.ended.is_set()


def test_a_quiet_workload_gets_more_time_and_is_then_no_survivor() -> None:
    seen = watch_that_ran(21.0, quiet=4.0)
    seen.check_time()
    assert not seen.ended.is_set()
    seen = watch_that_ran(121.0, quiet=104.0)
    seen.check_time()
    assert seen.ended.is_set() and not seen.seen.out_of_time
    assert round(seen.seen.silent_seconds or 0) == 104


def boot_that_is_over(printed: int) -> Watch:
    seen = plain(boot_only=True)
    seen.arm = replace(seen.arm, trial_seconds=0.0)
    cast(SimpleNamespace, seen.guest).console = SimpleNamespace(received=printed)
    seen.check_time()
    return seen


def test_a_boot_that_printed_nothing_has_not_survived() -> None:
    assert judge(boot_that_is_over(0).seen).verdict == Verdict.VOID
    assert judge(boot_that_is_over(80).seen).verdict == Verdict.SURVIVED


GOODBYES = [
    b"[    3.141593] reboot: Power down\r\n",
    b"[    3.141593][    T1] reboot: Restarting system with command 'x'\n",
    b"reboot: machine restart\n",
    b"[    3.1] Restarting system.\n",
    b"[    3.1] Power down.\n",
]


def boot_whose_qemu_ended(status: int, *said: bytes) -> Watch:
    seen = plain(boot_only=True)
    cast(SimpleNamespace, seen.guest).console = SimpleNamespace(received=sum(map(len, said)))
    for data in said:
        seen.on_console(data)
    seen.on_exit(status)
    return seen


@pytest.mark.parametrize("goodbye", GOODBYES)
def test_a_boot_that_says_how_it_ends_has_survived(goodbye: bytes) -> None:
    seen = boot_whose_qemu_ended(0, b"[    1.0] booted\n", goodbye[:17], goodbye[17:])
    assert judge(seen.seen).verdict == Verdict.SURVIVED


@pytest.mark.parametrize(
    ("status", "said", "reason"),
    [
        (0, b"[    1.0] booted\n", "no power-off or restart"),
        (0, b"[    1.0] foo: will reboot: never\n", "no power-off or restart"),
        (0, b"reboot: Power down\n" + b"[    2.0] up again\n" * 1000, "no power-off or restart"),
        (0, b"", "QEMU ended with status 0"),
        (1, b"[    1.0] reboot: Power down\n", "QEMU ended with status 1"),
    ],
)
def test_a_boot_that_ends_without_a_word_is_void(status: int, said: bytes, reason: str) -> None:
    judgement = judge(boot_whose_qemu_ended(status, said).seen)
    assert judgement.verdict == Verdict.VOID and reason in judgement.reason


def test_a_report_before_a_silent_reset_stands() -> None:
    oops = b"[    1.0] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\n"
    seen = boot_whose_qemu_ended(0, oops)
    seen.close_console()
    assert judge(seen.seen).verdict == Verdict.CRASHED


def test_a_workload_s_guest_that_powers_off_is_void() -> None:
    seen = plain()
    cast(SimpleNamespace, seen.guest).console = SimpleNamespace(received=1)
    seen.on_console(b"[    1.0] reboot: Power down\n")
    seen.on_exit(0)
    assert judge(seen.seen).verdict == Verdict.VOID


def test_a_ping_that_fails_by_the_harness_is_no_hang() -> None:
    async def broken() -> None:
        raise RuntimeError("a mistake")

    seen = plain()
    cast(SimpleNamespace, seen.guest).channel = SimpleNamespace(ping=broken)
    asyncio.run(seen.follow_life())
    assert seen.ended.is_set() and judge(seen.seen).verdict == Verdict.VOID


def test_a_guest_whose_disk_cannot_be_written_does_not_hang() -> None:
    # QEMU stops it (`werror=enospc`, its default), and a campaign of such trials proves nothing
    async def execute(command: str) -> object:
        assert command == "query-status"
        return {"status": "io-error", "running": False}

    stopped = watch()
    guest = cast(SimpleNamespace, stopped.guest)
    guest.files = GuestFiles.within(Path("trial"))
    guest.monitor = SimpleNamespace(execute=execute)
    with pytest.raises(InfrastructureError, match=r"cannot be kept: free some space .*TMPDIR"):
        asyncio.run(_record_hang(stopped))
