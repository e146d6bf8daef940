# SPDX-License-Identifier: BSD-2-Clause
"""One trial: a ready guest, armed failpoints, the workload, and a watch until the verdict."""

import asyncio
import json
import shlex
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from qemu.qmp import QMPError

from harness.crashes import Report, ReportStream
from harness.crashes.report import Kind
from harness.errors import GuestError
from harness.files import disk_errors_named
from harness.hangs import HangKind
from harness.qemu.dump import keep_after_shutdown, shut_down
from harness.qemu.guest import GuestFiles, RunningGuest, started_guest
from harness.qemu.process import qemu_version
from harness.systems.registry import SYSTEMS
from harness.trials.arm import PreparedArm
from harness.trials.external import ArmedFailpoints, FailpointRecord
from harness.trials.hang import record_hang, record_memory
from harness.trials.interleaving import write_interleaving
from harness.trials.verdict import Observations, SymptomSeen, judge
from harness.trials.workload import WorkloadEvent, WorkloadOutput

_TICK_SECONDS = 0.1
_LONGEST_TICK_SECONDS = 1.0
_DRAIN_SECONDS = 5.0
_MAX_HEARD = 100_000
"""Lines of the workload that workload.jsonl keeps."""
_MAX_KEPT = 200
"""Symptoms, reports and notes that are kept of one trial: the first are what matters."""
STALL_KINDS = frozenset({Kind.RCU_STALL, Kind.SOFT_LOCKUP, Kind.HARD_LOCKUP, Kind.HUNG_TASK})
"""Reports that a hold from outside can bring about by itself: never taken for a crash."""


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


class _Watch:
    """Collects what a running trial shows until something ends it."""

    def __init__(self, arm: PreparedArm, guest: RunningGuest) -> None:
        self.arm = arm
        self.guest = guest
        self.seen = Observations()
        self.reports: list[Report] = []
        self.notes: list[str] = []
        self.last_fields: dict[str, object] = {}
        self.guest_seconds: float | None = None
        self.ended = asyncio.Event()
        self._stream = ReportStream(arm.system)
        self._cpu_start = guest.process.cpu_seconds()
        self._wall_start = time.monotonic()
        self._silent = 0.0
        self._last_check = self._wall_start
        self._output = WorkloadOutput()
        self.heard: list[tuple[int, WorkloadEvent]] = []

    @property
    def wall_seconds(self) -> float:
        return time.monotonic() - self._wall_start

    @property
    def cpu_seconds(self) -> float:
        return self.guest.process.cpu_seconds() - self._cpu_start

    def on_console(self, data: bytes) -> None:
        try:
            for report in self._stream.feed(data):
                self._on_report(report)
        except Exception as error:
            # silence of a console that nobody reads any more is no survival
            self.fail(f"reading the console: {error!r}")

    def fail(self, why: str) -> None:
        """Ends the trial as void: a fault of the harness's own making."""
        if self.seen.lost is None:
            self.seen.lost = f"the harness failed: {why}"
        self.ended.set()

    def close_console(self) -> None:
        for report in self._stream.close():
            self._on_report(report)

    def _on_report(self, report: Report) -> None:
        has_room = len(self.reports) < _MAX_KEPT
        if has_room:
            self.reports.append(report)
        for symptom in self.arm.symptoms:
            if symptom.console is None:
                continue
            match = symptom.console.match(report)
            if has_room:
                self.notes.append(f"{report.title}: {symptom.name}: {match.why}")
            if match.matched:
                self._on_symptom(symptom.name, report.title, None)
                self.ended.set()
                return
        if report.kind in STALL_KINDS and self.arm.has_holds:
            if has_room:
                self.notes.append(f"not counted, a hold can cause it: {report.title}")
            return
        if len(self.seen.other_reports) < _MAX_KEPT:
            self.seen.other_reports.append(report)
        if report.fatal:
            self.ended.set()

    def _on_symptom(self, name: str, detail: str, guest_seconds: float | None) -> None:
        if len(self.seen.symptoms) >= _MAX_KEPT:
            return
        self.seen.symptoms.append(
            SymptomSeen(name, guest_seconds, self.wall_seconds, self.cpu_seconds, detail)
        )

    def on_output(self, data: bytes) -> None:
        for event in self._output.feed(data):
            self._silent = 0.0
            self.guest_seconds = event.seconds
            if len(self.heard) < _MAX_HEARD:
                self.heard.append((time.monotonic_ns(), event))
            self._on_event(event)

    def _on_event(self, event: WorkloadEvent) -> None:
        seen = self.seen
        match event.kind:
            case "start":
                seen.started = True
            case "heartbeat":
                # where a crash prevents "done", the last totals that were heard are kept
                self.last_fields = event.fields
            case "attempt":
                outcome = event.fields.get("outcome")
                seen.attempts += 1
                seen.attempts_reproduced += outcome == "reproduced"
                seen.attempts_failed += outcome == "failed"
            case "symptom":
                self._on_workload_symptom(event)
            case "error":
                seen.workload_error = str(event.fields.get("message", "no reason given"))
            case "done":
                seen.workload_done = True
                self.last_fields = event.fields

    def _on_workload_symptom(self, event: WorkloadEvent) -> None:
        name = str(event.fields.get("name", ""))
        for symptom in self.arm.symptoms:
            match = symptom.match_workload(name, event.fields)
            if match.matched:
                detail = ", ".join(f"{k} {v}" for k, v in event.fields.items() if k != "name")
                self._on_symptom(symptom.name, detail, event.seconds)
                return
            if symptom.workload is not None and len(self.notes) < _MAX_KEPT:
                self.notes.append(f"{name}: {symptom.name}: {match.why}")
        report = Report(
            system=self.arm.system, kind=Kind.DATA_CORRUPTION, title=f"workload: {name}",
            alt_titles=(), function=None, frames=(), start=0, end=0, corrupted=False,
            corrupted_reason=None, complete=True, fatal=False,
        )  # fmt: skip
        if len(self.reports) < _MAX_KEPT:
            self.reports.append(report)
            self.seen.other_reports.append(report)

    async def follow_workload(self, command: str) -> None:
        """Runs the workload and takes in its output until it ends or the channel does."""
        try:
            running = await self.guest.channel.start(command)
            async for data in running.output():
                self.on_output(data)
            self.seen.workload_status = running.status
        except GuestError as error:
            if self.seen.lost is None:  # QEMU's end, which is why the channel broke
                self.seen.lost = str(error)
        except Exception as error:
            self.fail(f"reading the workload's output: {error!r}")
        self.ended.set()

    async def follow_shutdown(self) -> None:
        """Ends the trial when a guest that stays for its memory dump has shut itself down."""
        why = await shut_down(self.guest.monitor)
        if self.seen.lost is None:
            self.seen.lost = f"the guest shut itself down ({why}) during the trial"
        self.ended.set()

    def check_time(self) -> None:
        now = time.monotonic()
        # a harness that was stopped or starved itself has not listened: that is no silence
        self._silent += min(now - self._last_check, _LONGEST_TICK_SECONDS)
        self._last_check = now
        if self._silent > self.arm.heartbeat_seconds:
            self.seen.silent_seconds = self._silent
            self.ended.set()
        over = self.wall_seconds - self.arm.trial_seconds
        if over > (_DRAIN_SECONDS if self._stream.pending else 0):
            self.seen.out_of_time = True
            self.ended.set()

    @property
    def shows_trouble(self) -> bool:
        """Whether the guest hung, or a report on its console counts."""
        on_console = any(symptom.guest_seconds is None for symptom in self.seen.symptoms)
        return self.seen.silent_seconds is not None or on_console or bool(self.seen.other_reports)

    @property
    def noise(self) -> list[str]:
        return self._output.noise


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
    seen, watch = Observations(), None
    ready: tuple[float, float] = (0.0, 0.0)
    async with AsyncExitStack() as stack:
        failpoints = stack.enter_context(ArmedFailpoints(arm.failpoints, folder, seed))
        try:
            guest = await stack.enter_async_context(
                started_guest(
                    arm.plan, files, snapshot=arm.snapshot, plugin=failpoints.qemu_arguments()
                )
            )
            _write_json(
                folder / "qemu.json",
                {"argv": guest.process.argv, "version": qemu_version(arm.plan.machine.binary)},
            )
            setup = arm.setup if arm.snapshot is None else ()
            await guest.set_up([*setup, SYSTEMS[arm.system].trial_start_command(seed)])
            if arm.dump_memory:
                await keep_after_shutdown(guest.monitor)
            ready = (time.monotonic() - started, guest.process.cpu_seconds())
            watch = _Watch(arm, guest)
            seen = watch.seen
            await _watch_until_end(watch, failpoints, _command_line(arm, seed))
            if arm.dump_memory and watch.shows_trouble and guest.process.exit_status is None:
                watch.notes.append(await record_memory(guest, arm, folder))
        except GuestError as error:
            seen.boot_error = str(error)
        _check_disk(watch)
        wall = watch.wall_seconds if watch else time.monotonic() - started
        cpu = watch.cpu_seconds if watch else 0.0
        failpoints.finish()
    if watch is not None:
        _write_heard(folder / "workload.jsonl", watch.heard)
        if arm.failpoints is not None:
            write_interleaving(folder, failpoints.events, arm.failpoints.plan, watch.heard)
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
    )


def _command_line(arm: PreparedArm, seed: int) -> str:
    words = [arm.workload, f"seed={seed}", *(f"{k}={v}" for k, v in arm.workload_args.items())]
    return "exec " + shlex.join(words)


async def _watch_until_end(watch: _Watch, failpoints: ArmedFailpoints, command: str) -> None:
    guest = watch.guest
    guest.console.listen(watch.on_console)
    failpoints.arm()
    workload = asyncio.create_task(watch.follow_workload(command))
    exited = asyncio.create_task(guest.process.wait())
    ended = asyncio.create_task(watch.ended.wait())
    down = asyncio.create_task(watch.follow_shutdown())
    try:
        while not (exited.done() or ended.done()):
            await asyncio.wait(
                {exited, ended}, timeout=_TICK_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            failpoints.drain()
            watch.check_time()
        failpoints.disarm()
        if exited.done() or (watch.seen.lost is not None and not down.done()):
            await _let_console_end(watch, exited)
        if watch.seen.silent_seconds is not None:
            await _record_hang(watch)
        await guest.console.settled(_DRAIN_SECONDS)
    finally:
        for task in (workload, exited, ended, down):
            task.cancel()
        await asyncio.gather(workload, exited, ended, down, return_exceptions=True)
    watch.close_console()


async def _let_console_end(watch: _Watch, exited: "asyncio.Task[int]") -> None:
    """A dying guest's last words may still be on their way when its control channel has gone."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            await asyncio.shield(exited)
            await watch.guest.console.drained()
    if exited.done():
        watch.seen.lost = f"QEMU ended with status {exited.result()} during the trial"


async def _record_hang(watch: _Watch) -> None:
    """Keeps every vCPU's registers, and what the hung guest is found to be doing."""
    target = watch.guest.files.console.with_name("registers.txt")
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            registers = await watch.guest.hmp("info registers -a")
    except (TimeoutError, QMPError, EOFError, OSError) as error:
        # QEMU answers whatever its guest does: where it does not, the silence is not the guest's
        watch.fail(f"the guest fell silent, and QEMU does not answer either ({error!r})")
    else:
        target.write_text(registers)
        hang = await record_hang(watch.guest, watch.arm, target.parent)
        watch.seen.hang = f"{hang.kind}: {hang.reason}"
        if hang.kind is HangKind.GUEST_STOPPED:
            watch.seen.lost = hang.reason


def _check_disk(watch: _Watch | None) -> None:
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
