# SPDX-License-Identifier: BSD-2-Clause
"""Watching a running trial: console, workload, QEMU's life and the clock, until one ends it."""

import asyncio
import time
from contextlib import suppress

from qemu.qmp import QMPError

from harness.crashes import QUIET_SECONDS, Report, ReportStream
from harness.crashes.report import Kind
from harness.errors import GuestError, InfrastructureError
from harness.hangs import Hang, HangKind
from harness.qemu.dump import shut_down
from harness.qemu.guest import RunningGuest
from harness.qemu.starvation import Starvation
from harness.systems.base import Debugger
from harness.systems.registry import SYSTEMS
from harness.trials.arm import PreparedArm
from harness.trials.debugger import Interrogation, ask_debugger
from harness.trials.external import ArmedFailpoints
from harness.trials.hang import record_hang
from harness.trials.plain import PlainOutput
from harness.trials.returns import ForcedReturns
from harness.trials.verdict import Observations, SymptomSeen
from harness.trials.workload import WorkloadEvent, WorkloadOutput

_TICK_SECONDS = 0.1
_LONGEST_TICK_SECONDS = 1.0
_DRAIN_SECONDS = 5.0
_LIFE_SECONDS = 2.0
_STARVED_TIMES = 10
"""A guest that shows no life is waited for so many times as long where its host is too busy."""
_MAX_HEARD = 100_000
"""Lines of the workload that workload.jsonl keeps."""
_TAIL_BYTES = 1 << 14
"""Of the console's end, in which a guest's farewell is looked for."""
_MAX_KEPT = 200
"""Symptoms, reports and notes that are kept of one trial: the first are what matters."""
STALL_KINDS = frozenset({Kind.RCU_STALL, Kind.SOFT_LOCKUP, Kind.HARD_LOCKUP, Kind.HUNG_TASK})
"""Reports that a hold from outside can bring about by itself: never taken for a crash."""


class Watch:
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
        self.on_console_symptom = False
        """Whether the target's symptom was a report on the console."""
        self.crashed = False
        """Whether a report says that the kernel cannot go on."""
        self._progress: object = None
        self._alive_at = 0.0, 0.0
        """Wall and CPU seconds of the last sign of life."""
        self._stream = ReportStream(arm.system)
        self._cpu_start = guest.process.cpu_seconds()
        self._wall_start = time.monotonic()
        self._silent = 0.0
        self._starvation = Starvation(guest.process.pid)
        self._last_check = self._wall_start
        self._console_heard = self._wall_start
        self._output = WorkloadOutput()
        self.plain: PlainOutput | None = None
        """Output of a workload that does not speak the harness's protocol."""
        if arm.plain is not None or arm.boot_only:
            self.plain = PlainOutput(arm.symptoms)
            self.seen.plain = True
            self.seen.started = arm.boot_only
        self.heard: list[tuple[int, WorkloadEvent]] = []
        self._tail = b""

    def listen(self) -> None:
        """Takes in what the guest prints from now on."""
        self.guest.console.listen(self.on_console)

    async def ask_debugger(self, debugger: Debugger) -> Interrogation | None:
        """What the kernel's debugger says of a crash or hang; None where there is none.

        What it prints is no report of the trial's any more.
        """
        if self.arm.debugger is None or not (self.crashed or self.hung):
            return None
        self.guest.console.ignore(self.on_console)
        return await ask_debugger(
            self.guest, debugger, self.arm.debugger, self._tail, stopped=self.crashed
        )

    async def break_off(self, why: str) -> None:
        """Ends a trial whose guest could not be driven: what it printed until then counts."""
        if self.seen.lost is None:
            self.seen.lost = why
        await self.guest.console.settled(_DRAIN_SECONDS)
        self.close_console()

    @property
    def wall_seconds(self) -> float:
        """Seconds of wall clock since the watch began, at the workload's start."""
        return time.monotonic() - self._wall_start

    @property
    def cpu_seconds(self) -> float:
        """QEMU's CPU seconds since then."""
        return self.guest.process.cpu_seconds() - self._cpu_start

    def on_console(self, data: bytes) -> None:
        """Takes in what the guest printed."""
        self._console_heard = time.monotonic()
        self._tail = (self._tail + data)[-_TAIL_BYTES:]
        try:
            for report in self._stream.feed(data):
                self._on_report(report)
            if self.arm.boot_only and self.plain is not None:
                self._on_lines(self.plain.feed(data))
        except Exception as error:
            # silence of a console that nobody reads any more is no survival
            self.fail(f"reading the console: {error!r}")

    def fail(self, why: str) -> None:
        """Ends the trial as void: a fault of the harness's own making."""
        if self.seen.lost is None:
            self.seen.lost = f"the harness failed: {why}"
        self.ended.set()

    def on_exit(self, status: int) -> None:
        """Takes in that QEMU has ended, after all of the console was read."""
        if not self.arm.boot_only or status != 0 or not self.guest.console.received:
            self.seen.lost = f"QEMU ended with status {status} during the trial"
        else:
            self.end_of_boot_test()

    def end_of_boot_test(self) -> None:
        """Takes in that its guest has gone off, after all of the console was read.

        A boot test ends so where its guest says that it powers off or restarts. A guest that resets
        without a word (a triple fault) goes in the same way, and has not survived.
        """
        farewell = SYSTEMS[self.arm.system].farewell
        if farewell is not None and farewell.search(self._tail):
            self.seen.powered_off = True
        else:
            self.seen.lost = (
                "the guest was reset or switched off, and its console tells of no power-off or "
                'restart (a line "reboot: ..."): a triple fault, a reset by hardware, or a console '
                "without emergency messages (loglevel=0)"
            )

    def close_console(self) -> None:
        """Takes the console's end: reports that were cut off count, too."""
        for report in self._stream.close():
            self._on_report(report)

    def _on_report(self, report: Report) -> None:
        self.crashed |= report.fatal
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
                self.on_console_symptom = True
                self._on_symptom(symptom.name, report.title, self._guest_now())
                self.ended.set()
                return
        if report.kind in STALL_KINDS and self.arm.has_holds:
            if has_room:
                self.notes.append(f"not counted, a hold can cause it: {report.title}")
            return
        if report.is_hint:
            if has_room:
                self.notes.append(f"not counted, a data race that no symptom names: {report.title}")
            return
        if len(self.seen.other_reports) < _MAX_KEPT:
            self.seen.other_reports.append(report)
        if report.fatal:
            self.ended.set()

    def _guest_now(self) -> float | None:
        """Guest seconds by the workload's last line and the host's clock, at which TCG runs too."""
        if not self.heard:
            return None
        at, event = self.heard[-1]
        return event.seconds + (time.monotonic_ns() - at) / 1e9

    def _on_symptom(self, name: str, detail: str, guest_seconds: float | None) -> None:
        if len(self.seen.symptoms) >= _MAX_KEPT:
            return
        self.seen.symptoms.append(
            SymptomSeen(name, guest_seconds, self.wall_seconds, self.cpu_seconds, detail)
        )

    def on_output(self, data: bytes) -> None:
        """Takes in what the workload said."""
        if self.plain is not None:
            self._on_lines(self.plain.feed(data))
            return
        for event in self._output.feed(data):
            if self._shows_life(event):
                self._silent = 0.0
                self._alive_at = self.wall_seconds, self.cpu_seconds
                self.guest_seconds = event.seconds
            if len(self.heard) < _MAX_HEARD:
                self.heard.append((time.monotonic_ns(), event))
            self._on_event(event)

    def _on_lines(self, found: list[tuple[str, str]]) -> None:
        for name, line in found:
            self._on_symptom(name, line, None)
            self.ended.set()

    async def follow_life(self) -> None:
        """Hears whether the guest answers: all the life that a plain workload shows."""
        try:
            while True:
                await self.guest.channel.ping()
                self._silent = 0.0
                self._alive_at = self.wall_seconds, self.cpu_seconds
                await asyncio.sleep(_LIFE_SECONDS)
        except GuestError:
            pass  # follow_workload hears of it, too
        except Exception as error:
            self.fail(f"asking whether the guest answers: {error!r}")

    def _shows_life(self, event: WorkloadEvent) -> bool:
        """Not if it is a heartbeat that says itself that nobody has got on since the last one."""
        if event.kind != "heartbeat" or "progress" not in event.fields:
            return True
        before, self._progress = self._progress, event.fields["progress"]
        return before != self._progress

    def on_hang(self, hang: Hang) -> None:
        """Takes in what a guest that shows no life was found to do."""
        self.seen.hang = f"{hang.kind}: {hang.reason}"
        if hang.kind is HangKind.GUEST_STOPPED:
            self.seen.lost = hang.reason
            return
        for symptom in self.arm.symptoms:
            if symptom.hang is None:
                continue
            match = symptom.hang.match(hang)
            self.notes.append(f"hang: {symptom.name}: {match.why}")
            if match.matched:
                wall, cpu = self._alive_at
                self.seen.symptoms.append(
                    SymptomSeen(symptom.name, self.guest_seconds, wall, cpu, match.why)
                )
                return

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
            self.seen.started |= self.plain is not None
            async for data in running.output():
                self.on_output(data)
            if self.plain is not None:
                self._on_lines(self.plain.close())
            self.seen.workload_status = running.status
        except GuestError as error:
            if self.seen.lost is None:  # QEMU's end, which is why the channel broke
                self.seen.lost = str(error)
        except Exception as error:
            self.fail(f"reading the workload's output: {error!r}")
        self.ended.set()

    async def follow_shutdown(self) -> None:
        """Ends the trial when a guest that stays for its memory dump has shut itself down.

        Without a dump to be made QEMU ends with its guest, and its end says more.
        """
        if not self.arm.dump_memory:
            return
        why = await shut_down(self.guest.monitor)
        if self.seen.lost is None and not self.arm.boot_only:
            self.seen.lost = f"the guest shut itself down ({why}) during the trial"
        self.ended.set()

    def check_time(self) -> None:
        """Ends what has been silent or running for too long; called at every tick."""
        now = time.monotonic()
        tick, self._last_check = now - self._last_check, now
        # a harness that was stopped or starved itself has not listened: that is no silence; nor
        # is it one of the guest's if QEMU could not run
        starved = self._starvation.waited()
        self._silent += max(0.0, min(tick, _LONGEST_TICK_SECONDS) - starved)
        is_silent = self._silent > self.arm.heartbeat_seconds and not self.arm.boot_only
        if is_silent and not self._starvation.is_waiting():
            self.seen.silent_seconds = self._silent
            self.ended.set()
        if self._stream.pending and now - self._console_heard > QUIET_SECONDS:
            for report in self._stream.flush():
                self._on_report(report)
        over = self.wall_seconds - self.arm.trial_seconds
        if over > self._more_time():
            if self.arm.plain is not None and self.arm.plain.must_end:
                self.seen.overdue_seconds = self.wall_seconds
            elif self._is_quiet():
                self.seen.silent_seconds = self.wall_seconds - self._alive_at[0]
            elif self.arm.boot_only and not self.guest.console.received:
                self.seen.lost = "the guest printed nothing until the trial's time was over"
            else:
                self.seen.out_of_time = True
            self.ended.set()

    def _more_time(self) -> float:
        """For how many seconds beyond its time a trial goes on."""
        if self._is_quiet():
            # whether it is slow or hangs must be seen before it counts as alive
            return _STARVED_TIMES * self.arm.heartbeat_seconds
        return _DRAIN_SECONDS if self._stream.pending else 0.0

    def _is_quiet(self) -> bool:
        """Whether a workload that is known to speak has not done so for a while."""
        quiet = self.wall_seconds - self._alive_at[0] > self.arm.heartbeat_seconds / 4
        speaks = self.arm.plain is None and not self.arm.boot_only
        return quiet and speaks and self.seen.started

    @property
    def hung(self) -> bool:
        """Whether the guest shows no life, or its workload does not end that must."""
        return self.seen.silent_seconds is not None or self.seen.overdue_seconds is not None

    @property
    def shows_trouble(self) -> bool:
        """Whether the guest hung, or a report on its console counts."""
        return self.hung or self.on_console_symptom or bool(self.seen.other_reports)

    @property
    def noise(self) -> list[str]:
        """The workload's first lines that were none of its protocol."""
        return self._output.noise


async def watch_until_end(
    watch: Watch, failpoints: ArmedFailpoints, returns: ForcedReturns, command: str | None
) -> None:
    """Arms the failpoints, starts the workload by `command`, and returns when the trial is over.

    The watch listens to the console already. Without a command that is all, until the guest
    switches itself off. The failpoints are disarmed then; a hang has been looked at. Raises
    GuestError where the guest cannot be driven.
    """
    guest = watch.guest
    failpoints.arm()
    await returns.start(guest)
    workload = asyncio.create_task(watch.follow_workload(command)) if command else None
    life = asyncio.create_task(watch.follow_life()) if command and watch.plain else None
    exited = asyncio.create_task(guest.process.wait())
    ended = asyncio.create_task(watch.ended.wait())
    down = asyncio.create_task(watch.follow_shutdown())
    try:
        while not (exited.done() or ended.done()):
            await asyncio.wait(
                {exited, ended}, timeout=_TICK_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            failpoints.drain()
            if returns.failure is not None and not exited.done():
                watch.fail(returns.failure)
            watch.check_time()
        failpoints.disarm()
        await returns.end()
        shut_itself_down = watch.arm.dump_memory and down.done()
        if exited.done() or (watch.seen.lost is not None and not shut_itself_down):
            await _let_console_end(watch, exited)
        if watch.hung:
            await _record_hang(watch)
        await guest.console.settled(_DRAIN_SECONDS)
        if shut_itself_down and watch.arm.boot_only and not exited.done():
            watch.end_of_boot_test()
    finally:
        await returns.end()
        tasks = [task for task in (workload, life, exited, ended, down) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    watch.close_console()


async def _let_console_end(watch: Watch, exited: "asyncio.Task[int]") -> None:
    """A dying guest's last words may still be on their way when its control channel has gone."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            await asyncio.shield(exited)
            await watch.guest.console.drained()
    if exited.done():
        watch.on_exit(exited.result())


async def _record_hang(watch: Watch) -> None:
    """Keeps every vCPU's registers, and what the hung guest is found to be doing.

    Raises InfrastructureError where QEMU has stopped a guest whose disk it could not write.
    """
    target = watch.guest.files.console.with_name("registers.txt")
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            state = await watch.guest.monitor.execute("query-status")
            if isinstance(state, dict) and state.get("status") == "io-error":
                raise InfrastructureError(
                    "QEMU has stopped the guest, since what it writes to its disk cannot be kept: "
                    "free some space where temporary files are (TMPDIR, else /var/tmp), then go "
                    "on with --resume"
                )
            registers = await watch.guest.hmp("info registers -a")
    except (TimeoutError, QMPError, EOFError, OSError) as error:
        # QEMU answers whatever its guest does: where it does not, the silence is not the guest's
        watch.fail(f"the guest fell silent, and QEMU does not answer either ({error!r})")
    else:
        target.write_text(registers)
        watch.on_hang(await record_hang(watch.guest, watch.arm, target.parent))
