# SPDX-License-Identifier: BSD-2-Clause
"""The harness's side of the control block: creates it, steers the plugin, reads what it did."""

import contextlib
import mmap
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

from harness.errors import InfrastructureError, UsageError
from harness.qemu.plugin import layout
from harness.qemu.plugin.plan import (
    ALWAYS_PPM,
    DelayRule,
    OrderRule,
    PluginPlan,
    Rule,
    Since,
    check_rules,
    check_seed,
)
from harness.qemu.plugin.statistics import (
    HeldVcpu,
    PluginStatistics,
    PointStatistics,
    RuleStatistics,
)
from harness.qemu.plugin.timeline import Event, decode_event

_QUIET_TIMEOUT_S = 2.0
_POLL_S = 0.0002
_ALL_VCPUS = 2**layout.MAX_VCPUS - 1


class ControlBlock:
    """Steers one QEMU's plugin through shared memory. Not for several threads at a time.

    `create()` it before QEMU starts; it begins disarmed. As a context manager it ends all holds
    and removes its file. Everything may be changed while the guest runs; what needs the plugin to
    be at rest (all but arm, disarm, enable, disable) cancels the holds in progress, waits until
    no vCPU is in a rule (about 1 ms), makes the change, and arms again if it was armed.
    """

    def __init__(self, path: Path, memory: mmap.mmap, plan: PluginPlan) -> None:
        self.path = path
        self._plan = plan
        self._memory = memory
        # Assignments to views of the native types are single stores; struct's "=" formats are not.
        self._words = memoryview(memory).cast("I")
        self._longs = memoryview(memory).cast("Q")
        self._fence_lock = threading.Lock()
        self._fence_lock.acquire()
        self._next_ticket = 0
        self._lost_events = 0
        self._backlog: list[Event] = []

    @classmethod
    def create(cls, path: Path, plan: PluginPlan, ring_capacity: int = 16384) -> "ControlBlock":
        """Creates the file (in a tmpfs, preferably) with the plan in it; an old one is replaced.

        `ring_capacity` is the number of events kept until they are drained, a power of two.
        Raises UsageError for another capacity, InfrastructureError if the file cannot be made.
        """
        if ring_capacity < 2 or ring_capacity & (ring_capacity - 1):
            raise UsageError(f"an event ring of {ring_capacity}; expected a power of two from 2")
        size = layout.block_size(ring_capacity)
        unfinished = path.with_name(path.name + ".new")
        try:
            handle = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(handle, 0, size)
                memory = mmap.mmap(handle, size)
            finally:
                os.close(handle)
        except OSError as error:
            raise InfrastructureError(
                f"cannot create the plugin's control block {path} ({size} bytes): {error}"
            ) from error
        block = cls(path, memory, plan)
        block._set_word(layout.AT_VERSION, layout.VERSION)
        block._set_word(layout.AT_HEADER_SIZE, layout.HEADER_SIZE)
        block._set_long(layout.AT_SIZE, size)
        block._set_long(layout.AT_RING_CAPACITY, ring_capacity)
        block._set_long(layout.AT_SEED, plan.seed)
        block._write_places()
        block._write_points_and_rules()
        block._set_long(layout.AT_MAGIC, layout.MAGIC)
        unfinished.rename(path)
        return block

    def __enter__(self) -> "ControlBlock":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends all holds for good, unmaps the block and removes its file. Safe to call twice."""
        if self._memory.closed:
            return
        self.quit()
        self._words.release()
        self._longs.release()
        self._memory.close()
        self.path.unlink(missing_ok=True)

    @property
    def plan(self) -> PluginPlan:
        """The plan as it is now."""
        return self._plan

    def qemu_arguments(self, plugin: Path) -> list[str]:
        """QEMU's arguments that load the plugin (build_plugin()'s path) with this block.

        They want `-accel tcg,thread=multi`: with one thread for all vCPUs a hold stops them all.
        """
        return ["-plugin", f"file={_escaped(plugin)},shm={_escaped(self.path)}"]

    # -- switches ------------------------------------------------------------------------------

    @property
    def armed(self) -> bool:
        """Whether rules are executed."""
        return bool(self._word(layout.AT_ARMED) & 1)

    @property
    def attached(self) -> bool:
        """Whether a QEMU has loaded the plugin with this block and still runs."""
        return _is_running(self._word(layout.AT_ATTACHED_PID))

    def arm(self) -> None:
        """Lets the rules be executed from now on."""
        if not self.armed:
            self._switch()

    def disarm(self) -> None:
        """Ends all holds and waits until no vCPU is in a rule: about 1 ms.

        Raises InfrastructureError if one stays there for 2 s.
        """
        if self.armed:
            self._switch()
        self._wait_until_quiet()

    @contextlib.contextmanager
    def disarmed(self) -> Iterator[None]:
        """Disarmed while the context lasts: for QMP's stop, savevm and quit, which wait for holds.

        Arms again at its end if it was armed before.
        """
        was_armed = self.armed
        self.disarm()
        try:
            yield
        finally:
            if was_armed:
                self.arm()

    def quit(self) -> None:
        """Ends all holds for good, without waiting; nothing is held by this block any more."""
        self._set_word(layout.AT_QUIT, 1)

    def enable(self, rule: str) -> None:
        """Lets a rule be executed. Raises UsageError if there is none of that name."""
        self._set_word(layout.rule(self._rule_index(rule)), 1)

    def disable(self, rule: str) -> None:
        """Ends a rule's holds (within 1 ms) and skips it from now on, without touching others."""
        self._set_word(layout.rule(self._rule_index(rule)), 0)

    # -- changes -------------------------------------------------------------------------------

    def start(self, seed: int | None = None) -> None:
        """Begins a trial: counters, attempts and undrained events are gone, draws begin anew.

        With a seed (64 bits), the draws are that seed's; otherwise they are the plan's again.
        """
        with self.disarmed():
            self._reset_counters()
            self._reset_draws(self._plan.seed if seed is None else seed)
            self._discard_events()

    def set_rules(self, rules: tuple[Rule, ...]) -> None:
        """Replaces all rules at once, for the same points and marks; their counters become 0.

        Raises ConfigurationError, and changes nothing, if they do not fit.
        """
        check_rules(rules, self._plan.points)
        with self.disarmed():
            self._backlog += self._read_ring()
            self._plan = PluginPlan(self._plan.points, rules, self._plan.marks, self._plan.seed)
            self._write_points_and_rules()
            self._reset_rule_counters()

    def replace(
        self, plan: PluginPlan, timeout_s: float = 2.0, nudge: Callable[[], None] | None = None
    ) -> None:
        """Replaces the whole plan, addresses included, and starts (see start()).

        New addresses need the guest's code translated anew, which the plugin asks for when a vCPU
        next halts, resumes, translates code or comes to a point. `nudge` is called once, after the
        plan was written, to make that happen: QMP's stop and cont do (a loadvm does too), and are
        needed for a guest that only spins in translated code.
        Raises InfrastructureError if it has not happened within `timeout_s`; the block is then
        disarmed, and the plan becomes active whenever it happens: call start() then.
        """
        was_armed = self.armed
        self.disarm()
        self._backlog += self._read_ring()
        self._plan = plan
        self._set_word(layout.AT_PLAN_WANTED, self._word(layout.AT_PLAN_WANTED) + 1)
        self._fence()
        self._write_places()
        self._write_points_and_rules()
        self._fence()
        self._set_word(layout.AT_PLAN_WANTED, self._word(layout.AT_PLAN_WANTED) + 1)
        if nudge is not None:
            nudge()
        self._wait_for_plan(timeout_s)
        backlog = self._backlog
        self.start()
        self._backlog = backlog
        if was_armed:
            self.arm()

    # -- reading -------------------------------------------------------------------------------

    def statistics(self) -> PluginStatistics:
        """The counters as they are now, those of points since the last start."""
        vcpus = self._word(layout.AT_VCPU_COUNT)
        return PluginStatistics(
            points={
                point.name: self._point_statistics(index, vcpus)
                for index, point in enumerate(self._plan.points)
            },
            rules={
                rule.name: self._rule_statistics(index, rule)
                for index, rule in enumerate(self._plan.rules)
            },
            held=tuple(self._held(vcpus)),
            attempts=self._long(layout.AT_ATTEMPT),
            blocks_translated=self._long(layout.AT_BLOCKS_TRANSLATED),
            events=self._long(layout.AT_RING_HEAD),
            lost_events=self._lost_events,
            api_version=self._word(layout.AT_API_VERSION),
            vcpus=vcpus,
            target=self._bytes(layout.AT_TARGET, layout.TARGET_SIZE).split(b"\0")[0].decode(),
        )

    def drain(self) -> list[Event]:
        """The events that have come since the last drain, oldest first (by when they ended).

        When more came than the ring holds, the oldest are lost: statistics().lost_events.
        """
        events = self._backlog + self._read_ring()
        self._backlog = []
        return events

    # -- the plan's bytes ----------------------------------------------------------------------

    def _write_places(self) -> None:
        places = sorted(
            (address, index)
            for index, point in enumerate(self._plan.points)
            for address in point.addresses
        )
        for number, (address, index) in enumerate(places):
            layout.PLACE.pack_into(
                self._memory, layout.AT_PLACES + number * layout.PLACE.size, address, index, 0
            )
        self._set_word(layout.AT_PLACE_COUNT, len(places))

    def _write_points_and_rules(self) -> None:
        plan = self._plan
        awaited = {rule.until for rule in plan.rules if isinstance(rule, OrderRule)}
        for index, point in enumerate(plan.points):
            flags = (
                layout.POINT_MARK * (point.name in plan.marks)
                | layout.POINT_LOG * point.log_passes
                | layout.POINT_AWAITED * (point.name in awaited)
            )
            attached = sum(1 << r for r, rule in enumerate(plan.rules) if rule.point == point.name)
            masks = [attached >> 64 * w & 2**64 - 1 for w in range(layout.RULE_WORDS)]
            layout.POINT.pack_into(
                self._memory, layout.AT_POINTS + index * layout.POINT.size, flags, 0, *masks
            )
        for index, rule in enumerate(plan.rules):
            raw = _packed_rule(rule, plan)
            self._memory[layout.rule(index) : layout.rule(index) + len(raw)] = raw
        self._set_word(layout.AT_POINT_COUNT, len(plan.points))
        self._set_word(layout.AT_RULE_COUNT, len(plan.rules))

    # -- rest and reset ------------------------------------------------------------------------

    def _switch(self) -> None:
        self._fence()
        self._set_word(layout.AT_ARMED, self._word(layout.AT_ARMED) + 1 & 0xFFFFFFFF)
        self._fence()

    def _wait_until_quiet(self) -> None:
        deadline = time.monotonic() + _QUIET_TIMEOUT_S
        for index in range(self._word(layout.AT_VCPU_COUNT)):
            at = layout.vcpu(index)
            while self._word(at + layout.VCPU_BUSY):
                if not self.attached:
                    self._set_word(at + layout.VCPU_BUSY, 0)  # QEMU was killed in a hold
                    self._set_word(at + layout.VCPU_HELD_RULE, 0)
                elif time.monotonic() > deadline:
                    raise InfrastructureError(
                        f"vCPU {index} is still in a rule {_QUIET_TIMEOUT_S:g} s after disarming: "
                        "is QEMU itself stopped (SIGSTOP), or the host overloaded?"
                    )
                else:
                    time.sleep(_POLL_S)
        self._fence()

    def _wait_for_plan(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        wanted = self._word(layout.AT_PLAN_WANTED)
        # Without a QEMU the plugin will load the places when one starts.
        while self.attached and self._word(layout.AT_PLAN_ACTIVE) != wanted:
            if time.monotonic() > deadline:
                raise InfrastructureError(
                    f"the plugin has not taken up the new addresses within {timeout_s:g} s: "
                    "no vCPU has halted or translated code; run QMP's stop and cont"
                )
            time.sleep(_POLL_S)

    def _reset_counters(self) -> None:
        for index in range(self._word(layout.AT_VCPU_COUNT)):
            at = layout.vcpu(index)
            counts = self._bytes(at + layout.VCPU_COUNTS, layout.COUNTS_SIZE)
            for base in (layout.VCPU_AT_START, layout.VCPU_AT_MARK):
                self._memory[at + base : at + base + len(counts)] = counts
        self._set_long(layout.AT_ATTEMPT, 0)
        self._reset_rule_counters()

    def _reset_rule_counters(self) -> None:
        size = layout.MAX_RULES * layout.RULE_COUNTERS_SIZE
        self._memory[layout.AT_RULE_COUNTERS : layout.AT_RULE_COUNTERS + size] = bytes(size)

    def _reset_draws(self, seed: int) -> None:
        check_seed(seed)
        self._set_long(layout.AT_SEED, seed)
        for index in range(layout.MAX_VCPUS):
            at = layout.vcpu(index) + layout.VCPU_DRAWS
            self._memory[at : at + 8 * layout.MAX_RULES] = bytes(8 * layout.MAX_RULES)

    # -- the plugin's bytes --------------------------------------------------------------------

    def _point_statistics(self, index: int, vcpus: int) -> PointStatistics:
        def counted(offset: int) -> tuple[int, ...]:
            places = [layout.vcpu(v) + offset + 8 * index for v in range(vcpus)]
            since = layout.VCPU_AT_START - layout.VCPU_COUNTS
            return tuple(self._long(at) - self._long(at + since) for at in places)

        places = range(self._word(layout.AT_PLACE_COUNT))
        rows = [
            layout.PLACE.unpack_from(self._memory, layout.AT_PLACES + layout.PLACE.size * place)
            for place in places
        ]
        return PointStatistics(
            arrivals=counted(layout.VCPU_COUNTS),
            passes=counted(layout.VCPU_COUNTS + 8 * layout.MAX_POINTS),
            instrumented={address: times for address, point, times in rows if point == index},
        )

    def _rule_statistics(self, index: int, rule: Rule) -> RuleStatistics:
        at = layout.rule_counters(index)
        evaluated, entered, reached, timed_out, cancelled, delayed, held, longest = (
            self._long(at + 8 * word) for word in range(8)
        )
        fired = at + layout.RULE_COUNTERS.size
        terms = 1 if isinstance(rule, OrderRule) else len(rule.terms)
        return RuleStatistics(
            evaluated=evaluated,
            entered=entered,
            reached=reached,
            timed_out=timed_out,
            cancelled=cancelled,
            delayed=delayed,
            held_s=held / 1e9,
            longest_s=longest / 1e9,
            fired=tuple(self._long(fired + 8 * term) for term in range(terms)),
        )

    def _held(self, vcpus: int) -> Iterator[HeldVcpu]:
        for index in range(vcpus):
            at = layout.vcpu(index)
            rule = self._word(at + layout.VCPU_HELD_RULE)
            if 0 < rule <= len(self._plan.rules):
                since = self._long(at + layout.VCPU_HELD_SINCE) / 1e9
                yield HeldVcpu(index, self._plan.rules[rule - 1].name, since)

    def _read_ring(self) -> list[Event]:
        capacity = self._long(layout.AT_RING_CAPACITY)
        head = self._long(layout.AT_RING_HEAD)
        if head - self._next_ticket > capacity:
            self._lost_events += head - capacity - self._next_ticket
            self._next_ticket = head - capacity
        events = []
        while self._next_ticket < head:
            at = layout.HEADER_SIZE + self._next_ticket % capacity * layout.EVENT.size
            complete = 2 * self._next_ticket + 2
            if self._long(at) < complete:
                break  # its vCPU is still writing it
            self._fence()
            raw = self._bytes(at, layout.EVENT.size)
            self._fence()
            if self._long(at) == complete:
                events.append(decode_event(raw, self._plan)[1])
            else:
                self._lost_events += 1  # overwritten meanwhile
            self._next_ticket += 1
        return events

    def _discard_events(self) -> None:
        self._backlog = []
        self._next_ticket = self._long(layout.AT_RING_HEAD)
        self._lost_events = 0

    def _rule_index(self, name: str) -> int:
        for index, rule in enumerate(self._plan.rules):
            if rule.name == name:
                return index
        raise UsageError(
            f"no rule {name!r}; there are {', '.join(r.name for r in self._plan.rules) or 'none'}"
        )

    def _fence(self) -> None:
        """Keeps loads and stores on their sides of it.

        Python has no memory barrier. Releasing a lock orders what is before, taking it what is
        after, and the one cannot overtake the other: they are atomic operations on one word.
        """
        self._fence_lock.release()
        self._fence_lock.acquire()

    def _word(self, offset: int) -> int:
        return self._words[offset // 4]

    def _set_word(self, offset: int, value: int) -> None:
        self._words[offset // 4] = value

    def _long(self, offset: int) -> int:
        return self._longs[offset // 8]

    def _set_long(self, offset: int, value: int) -> None:
        self._longs[offset // 8] = value

    def _bytes(self, offset: int, size: int) -> bytes:
        return self._memory[offset : offset + size]


def _packed_rule(rule: Rule, plan: PluginPlan) -> bytes:
    if isinstance(rule, OrderRule):
        until = plan.point_index(rule.until)
        order = (_mask(rule.until_vcpus), rule.times, rule.timeout_us * 1000, until)
        since, counting, other = int(rule.since), int(rule.counting), int(rule.until_other)
        terms = [
            layout.TERM.pack(
                _mask(rule.vcpus),
                rule.count or layout.UNLIMITED,
                rule.then_delay_us * 1000,
                rule.probability_ppm,
                layout.ORDER,
                0,
            )
        ]
    else:
        order = (0, 0, 0, 0)
        since, counting, other = int(Since.START), layout.PASSES, 0
        terms = _packed_terms(rule)
    head = layout.RULE_HEAD.pack(
        int(rule.enabled),
        len(terms),
        rule.skip,
        rule.per_attempt or layout.UNLIMITED,
        *order,
        since,
        counting,
        other,
    )
    return (head + b"".join(terms)).ljust(layout.RULE_SIZE, b"\0")


def _packed_terms(rule: DelayRule) -> list[bytes]:
    return [
        layout.TERM.pack(
            _mask(term.vcpus),
            term.count or layout.UNLIMITED,
            term.duration_us * 1000,
            min(term.probability_ppm, ALWAYS_PPM),
            int(term.action),
            int(term.cascade),
        )
        for term in rule.terms
    ]


def _mask(vcpus: frozenset[int] | None) -> int:
    return _ALL_VCPUS if vcpus is None else sum(1 << vcpu for vcpu in vcpus)


def _escaped(path: Path) -> str:
    """A path as a value in QEMU's comma-separated options (qemu(1): commas are doubled)."""
    return str(path.absolute()).replace(",", ",,")


def _is_running(pid: int) -> bool:
    if pid == 0:
        return False
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"  # proc_pid_stat(5): zombie, dead
