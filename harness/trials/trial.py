# SPDX-License-Identifier: BSD-2-Clause
"""One trial: a ready guest, armed failpoints, the workload, and a watch until the verdict."""

import json
import time
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from harness.console.text import printable
from harness.errors import GuestError
from harness.files import disk_errors_named
from harness.qemu.dump import keep_after_shutdown
from harness.qemu.guest import GuestFiles, RunningGuest, started_guest
from harness.qemu.process import qemu_version
from harness.systems.base import Debugger
from harness.systems.registry import SYSTEMS
from harness.trials.adjust import adjust_guest
from harness.trials.arm import PreparedArm
from harness.trials.external import ArmedFailpoints, FailpointRecord
from harness.trials.hang import record_memory
from harness.trials.inside import GuestSettings, SettingRecord
from harness.trials.interleaving import write_interleaving, write_timeline
from harness.trials.reports import write_answers, write_reports
from harness.trials.returns import ForcedReturns
from harness.trials.verdict import Judgement, Observations, SymptomSeen, ending_of, judge
from harness.trials.watch import Watch, watch_until_end
from harness.trials.workload import WorkloadEvent


@dataclass(frozen=True)
class TrialRecord:
    """What is kept of a trial; trial.json is exactly this. Times are in seconds."""

    arm: str
    number: int
    """Trials of the arm are numbered from 1, voids included."""
    block: int
    """The block of one trial per arm that this one counts in."""
    seed: int
    verdict: str
    reason: str
    symptoms: list[dict[str, object]]
    guest_seconds: float | None
    """Guest time from the workload's start to the first symptom, or to the end if censored."""
    wall_seconds: float
    cpu_seconds: float
    """QEMU's CPU time over the same span."""
    attempts: int
    attempts_reproduced: int
    attempts_failed: int
    orders_reached: bool | None
    """Whether every order rule was reached at least once; None if the arm has none."""
    failpoints: dict[str, FailpointRecord]
    reports: list[str]
    ready_seconds: float
    ready_cpu_seconds: float
    start: str
    """`boot` or `snapshot`."""
    workload_fields: dict[str, object]
    console_bytes: int
    console_dropped_bytes: int
    notes: list[str]
    finished: str
    """UTC, ISO 8601."""
    settings: dict[str, SettingRecord] = field(default_factory=dict)
    """Failpoints that are set by name inside the guest, or over its gdb server."""


async def run_trial(
    arm: PreparedArm, number: int, block: int, seed: int, folder: Path
) -> TrialRecord:
    """Runs one trial and leaves its evidence in `folder`, which must exist and be empty.

    A failure of the guest or of QEMU is a void trial, not an exception. Raises
    InfrastructureError for the host's own faults (no QEMU, a full disk).
    """
    with disk_errors_named(folder):
        return await _run_trial(arm, number, block, seed, folder)


async def _run_trial(
    arm: PreparedArm, number: int, block: int, seed: int, folder: Path
) -> TrialRecord:
    files = GuestFiles.within(folder)
    started = time.monotonic()
    seen, watch, debugger, asked = Observations(), None, None, None
    ready: tuple[float, float] = (0.0, 0.0)
    async with AsyncExitStack() as stack:
        failpoints = stack.enter_context(ArmedFailpoints(arm.failpoints, folder, seed))
        returns = ForcedReturns(arm.failpoints.returns if arm.failpoints else (), arm.arch, seed)
        settings = GuestSettings(arm.guest_failpoints)
        try:
            guest = await stack.enter_async_context(
                started_guest(
                    arm.plan,
                    files,
                    snapshot=arm.snapshot,
                    plugin=failpoints.qemu_arguments(),
                    answers=not arm.boot_only,
                )
            )
            _write_json(
                folder / "qemu.json",
                {"argv": guest.process.argv, "version": qemu_version(arm.plan.machine.binary)},
            )
            setup = arm.image.setup if arm.snapshot is None else ()
            if not arm.boot_only:
                await guest.set_up([*setup, SYSTEMS[arm.system].trial_start_command(seed)])
            if arm.snapshot is None:
                await adjust_guest(guest, arm)
            if arm.failpoints is not None and not arm.boot_only:
                await arm.failpoints.check_modules(guest.channel)
            if arm.dump_memory:
                await keep_after_shutdown(guest.monitor)
            ready = (time.monotonic() - started, guest.process.cpu_seconds())
            watch = Watch(arm, guest)
            seen = watch.seen
            # before the failpoints inside are set: setting them may bring about a report already
            watch.listen()
            command = None
            if arm.debugger is not None:
                debugger = await _enter_debugger_on_panic(guest, arm, watch)
            if not arm.boot_only:
                await settings.set(guest.channel)
                command = settings.workload_command(_workload_command(arm, seed))
            await watch_until_end(watch, failpoints, returns, command)
            stopped = debugger is not None and watch.crashed
            if guest.process.exit_status is None and not arm.boot_only and not stopped:
                looked_at = debugger is not None and watch.hung
                await settings.finish(guest.channel, put_back=not looked_at)
            if arm.dump_memory and watch.shows_trouble and guest.process.exit_status is None:
                watch.notes.append(await record_memory(guest, arm, folder))
        except GuestError as error:
            if watch is None:
                seen.boot_error = str(error)
            else:
                await watch.break_off(str(error))
        _check_disk(watch)
        wall = watch.wall_seconds if watch else time.monotonic() - started
        cpu = watch.cpu_seconds if watch else 0.0
        failpoints.finish()
        if watch is not None and debugger is not None:
            asked = await watch.ask_debugger(debugger)
    if watch is not None:
        await write_reports(folder, arm.kernel, watch.reports)
        if debugger is not None and asked is not None:
            watch.notes.append(asked.summary(debugger.name))
            await write_answers(folder / f"{debugger.name}.txt", arm.kernel, asked)
        if watch.plain is None:
            _write_heard(folder / "workload.jsonl", watch.heard)
        elif not arm.boot_only:
            (folder / "output.log").write_bytes(watch.plain.kept)
        if arm.failpoints is not None:
            write_interleaving(
                folder,
                failpoints.events,
                arm.failpoints.plan,
                watch.heard,
                died=watch.on_console_symptom,
                places=arm.failpoints.places,
            )
            write_timeline(folder / "timeline.jsonl", failpoints.events, watch.heard)
    judgement = judge(seen)
    if (name := _symptom_of_ending(arm, seen, judgement)) is not None:
        at = watch.guest_seconds if watch else None
        seen.symptoms.append(SymptomSeen(name, at, wall, cpu, judgement.reason))
        judgement = judge(seen)
    first = seen.symptoms[0] if seen.symptoms else None
    guest_seconds = first.guest_seconds if first else (watch.guest_seconds if watch else None)
    return TrialRecord(
        arm=arm.name,
        number=number,
        block=block,
        seed=seed,
        verdict=judgement.verdict,
        reason=judgement.reason,
        symptoms=[asdict(symptom) for symptom in seen.symptoms[:50]],
        guest_seconds=guest_seconds,
        wall_seconds=first.wall_seconds if first else wall,
        cpu_seconds=first.cpu_seconds if first else cpu,
        attempts=seen.attempts,
        attempts_reproduced=seen.attempts_reproduced,
        attempts_failed=seen.attempts_failed,
        orders_reached=failpoints.orders_reached(),
        failpoints=failpoints.record(),
        reports=[report.title for report in watch.reports] if watch else [],
        ready_seconds=ready[0],
        ready_cpu_seconds=ready[1],
        start="snapshot" if arm.snapshot else "boot",
        workload_fields=watch.last_fields if watch else {},
        console_bytes=watch.guest.console.received if watch else 0,
        console_dropped_bytes=watch.guest.console.dropped if watch else 0,
        notes=[*(watch.notes + watch.noise if watch else [])],
        finished=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        settings=settings.record() | returns.record(),
    )


async def _enter_debugger_on_panic(
    guest: RunningGuest, arm: PreparedArm, watch: Watch
) -> Debugger | None:
    """The kernel's debugger, which a crash will end at; None, with a note, for a kernel without."""
    debugger = SYSTEMS[arm.system].debugger
    for command in debugger.setup if debugger is not None else ():
        result = await guest.channel.run(command)
        if result.status != 0:
            said = printable(result.output).strip() or f"status {result.status}"
            watch.notes.append(f"the kernel's debugger cannot be asked: `{command}`: {said}")
            return None
    return debugger


def _workload_command(arm: PreparedArm, seed: int) -> str:
    if arm.plain is None:
        return SYSTEMS[arm.system].workload_command(arm.image, seed, arm.workload_args)
    command = arm.plain.command.replace("{workload}", arm.image.workload)
    return f"export HARNESS_SEED={seed}; " + command.replace("{seed}", str(seed))


def _symptom_of_ending(arm: PreparedArm, seen: Observations, judgement: Judgement) -> str | None:
    """The symptom that a trial without another one has by how it ended."""
    ending = ending_of(seen, judgement)
    return next((symptom.name for symptom in arm.symptoms if ending in symptom.ending), None)


def _check_disk(watch: Watch | None) -> None:
    if watch is None:
        return
    error = watch.guest.console.error or watch.guest.channel.log_error
    if error is not None:
        raise error


def _write_heard(path: Path, heard: list[tuple[int, WorkloadEvent]]) -> None:
    """What the workload said, each line with the host's monotonic time of its arrival."""
    lines = [
        json.dumps({"host_ns": at, "event": event.kind, "t": event.seconds} | event.fields)
        for at, event in heard
    ]
    path.write_text("".join(line + "\n" for line in lines))


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
