# SPDX-License-Identifier: BSD-2-Clause
"""Looking at a hung guest from outside: watched undisturbed for a moment, then sampled."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qemu.qmp import QMPError

from harness.errors import ConfigurationError, GuestError
from harness.hangs.classify import classify
from harness.hangs.evidence import GuestThread, Hang, Sample, Vcpu
from harness.hangs.stack import Unwinder, function_at
from harness.hangs.tasks import TASKS_COMMANDS, tasks_as_threads
from harness.hangs.view import GuestView
from harness.places.symbols import SymbolTable
from harness.qemu.gdb import GdbClient, attached, run_state
from harness.qemu.guest import RunningGuest

FindSymbols = Callable[[bool], Awaitable[SymbolTable | None]]
FindThreads = Callable[[GuestView], Awaitable[tuple[GuestThread, ...]]]

_NS = 1e9


@dataclass(frozen=True)
class Inspection:
    """How closely to look; all in seconds of wall clock but `samples`, a count.

    With the defaults an inspection takes about two seconds, and as long again for the tasks of a
    guest that answers.
    """

    watch_seconds: float = 1.0
    samples: int = 20
    sample_seconds: float = 0.03
    """Between two samples; they are spread a little, so as not to beat with the guest's timer."""
    answer_seconds: float = 1.5
    tasks_seconds: float = 5.0
    gdb_seconds: float = 60.0


async def inspect_hang(
    guest: RunningGuest,
    *,
    arch: str,
    symbols: FindSymbols,
    system: str = "linux",
    inspection: Inspection | None = None,
    threads: FindThreads | None = None,
) -> Hang:
    """What a guest that shows no life is doing. It runs on afterwards.

    `symbols` is asked for the kernel's symbols, with whether the guest answers: one that does can
    be asked for those of its modules too. `threads` finds the guest's threads in its memory while
    it is stopped; without it they are taken from what the guest says of its tasks.

    End every hold first (`ControlBlock.disarm`): a held vCPU cannot be stopped. What cannot be
    found out is left empty with a note; nothing is raised for that.
    """
    how = inspection or Inspection()
    notes: list[str] = []
    state = await _run_state(guest, notes)
    hosts = await _vcpu_threads(guest, notes)
    before, printed, started = _wanted_ns(guest, hosts), guest.console.received, time.monotonic()
    answers, answer_seconds = await _ping(guest, max(how.answer_seconds, how.watch_seconds))
    await asyncio.sleep(max(0.0, how.watch_seconds - answer_seconds))
    watched = time.monotonic() - started
    busy = _busy(before, _wanted_ns(guest, hosts), watched)
    rate = (guest.console.received - printed) / watched
    vcpus = tuple(Vcpu(index, busy.get(host)) for index, host in enumerate(hosts))
    found: tuple[GuestThread, ...] = ()
    try:
        async with asyncio.timeout(how.gdb_seconds):
            table = await symbols(answers)
            vcpus, found = await _sample(guest, arch, table, vcpus, how, threads, notes)
    except (GuestError, QMPError, TimeoutError, EOFError, OSError) as error:
        notes.append(f"the vCPUs could not be looked at: {str(error) or 'no answer in time'}")
    tasks = await _tasks(guest, system, how, notes) if answers else ""
    kind, reason = classify(state, answers, rate, vcpus)
    return Hang(
        kind=kind,
        reason=reason,
        run_state=state,
        answers=answers,
        answer_seconds=answer_seconds,
        watched_seconds=watched,
        console_rate=rate,
        vcpus=vcpus,
        tasks=tasks,
        threads=found or tasks_as_threads(tasks, system),
        notes=tuple(notes),
    )


async def _run_state(guest: RunningGuest, notes: list[str]) -> str:
    try:
        return await run_state(guest.monitor)
    except (QMPError, EOFError, OSError) as error:
        notes.append(f"QEMU's monitor does not answer: {error}")
        return "unknown"


async def _vcpu_threads(guest: RunningGuest, notes: list[str]) -> list[int]:
    """The host's thread ids of the vCPUs, vCPU 0 first."""
    try:
        answer = await guest.monitor.execute("query-cpus-fast")
    except (QMPError, EOFError, OSError) as error:
        notes.append(f"QEMU does not tell its vCPUs: {error}")
        return []
    cpus = [cpu for cpu in answer if isinstance(cpu, dict)] if isinstance(answer, list) else []
    return [int(cpu["thread-id"]) for cpu in sorted(cpus, key=lambda cpu: int(cpu["cpu-index"]))]


def _wanted_ns(guest: RunningGuest, threads: Sequence[int]) -> dict[int, int]:
    """Time that each thread has run or waited for a processor so far, in nanoseconds.

    The waiting counts, so that a spinning vCPU looks the same on a loaded host (Linux,
    Documentation/scheduler/sched-stats.rst: /proc/<pid>/schedstat).
    """
    found = {}
    for thread in threads:
        try:
            text = Path(f"/proc/{guest.process.pid}/task/{thread}/schedstat").read_text()
        except OSError:
            continue
        ran, waited = (int(word) for word in text.split()[:2])
        found[thread] = ran + waited
    return found


def _busy(before: Mapping[int, int], after: Mapping[int, int], seconds: float) -> dict[int, float]:
    return {
        thread: min(1.0, (after[thread] - ns) / _NS / seconds)
        for thread, ns in before.items()
        if thread in after
    }


async def _ping(guest: RunningGuest, seconds: float) -> tuple[bool, float]:
    started = time.monotonic()
    try:
        async with asyncio.timeout(seconds):
            await guest.channel.ping()
        answered = True
    except (GuestError, TimeoutError):
        answered = False
    return answered, time.monotonic() - started


async def _sample(
    guest: RunningGuest,
    arch: str,
    symbols: SymbolTable | None,
    vcpus: Sequence[Vcpu],
    how: Inspection,
    find_threads: FindThreads | None,
    notes: list[str],
) -> tuple[tuple[Vcpu, ...], tuple[GuestThread, ...]]:
    """Adds samples, registers and stacks; the last sample is the one that the stacks show.

    The guest's threads are of the same moment.
    """
    async with attached(guest.monitor, arch) as client:
        threads = await client.threads()
        found: list[list[Sample]] = [[] for _ in threads]
        for number in range(how.samples):
            if number:
                await client.resume()
                await asyncio.sleep(how.sample_seconds * (1 + 0.37 * (number % 3)))
                await client.interrupt()
            for samples, thread in zip(found, threads, strict=True):
                samples.append(await _sample_vcpu(client, thread, symbols))
        done, all_registers = [], []
        for index, (samples, thread) in enumerate(zip(found, threads, strict=True)):
            registers = await client.registers(thread)
            all_registers.append(dict(registers.values))
            unwinder = Unwinder(client.arch, symbols, _Reader(client, thread))
            done.append(
                Vcpu(
                    index,
                    vcpus[index].busy if index < len(vcpus) else None,
                    tuple(samples),
                    dict(registers.values),
                    await unwinder.stack(registers),
                )
            )
        found_threads: tuple[GuestThread, ...] = ()
        if find_threads is not None:
            reader = _Reader(client, threads[0])
            view = GuestView(client.arch.name, reader, tuple(all_registers))
            try:
                found_threads = await find_threads(view)
            except ConfigurationError as error:
                notes.append(f"the guest's threads could not be found: {error}")
        return tuple(done), found_threads


async def _sample_vcpu(client: GdbClient, thread: str, symbols: SymbolTable | None) -> Sample:
    registers = await client.registers(thread)
    in_kernel = registers.in_kernel
    found = function_at(symbols, registers.pc) if in_kernel else None
    return Sample(
        pc=registers.pc,
        halted=await client.is_halted(thread),
        in_kernel=in_kernel,
        function=found[0].name if found else None,
    )


@dataclass(frozen=True)
class _Reader:
    """Memory as one vCPU sees it."""

    client: GdbClient
    thread: str

    async def __call__(self, address: int, size: int) -> bytes:
        return await self.client.read_memory(self.thread, address, size)


async def _tasks(guest: RunningGuest, system: str, how: Inspection, notes: list[str]) -> str:
    command = TASKS_COMMANDS.get(system)
    if command is None:
        return ""
    try:
        async with asyncio.timeout(how.tasks_seconds):
            return (await guest.channel.run(command)).output.decode(errors="backslashreplace")
    except (GuestError, TimeoutError) as error:
        notes.append(f"the guest did not list its tasks: {str(error) or 'no answer in time'}")
        return ""
