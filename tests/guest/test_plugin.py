# SPDX-License-Identifier: BSD-2-Clause
"""The plugin in a real QEMU: the bare guest's two processors are held where the plan says.

HARNESS_TEST_QEMUS names the emulators to test with, separated by colons.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from bare.machine import BareGuest, build_guest, missing_tools, point_addresses

from harness.errors import InfrastructureError
from harness.failpoints.diagram import text_diagram
from harness.qemu.plugin import (
    Action,
    ControlBlock,
    Counting,
    DelayRule,
    EventKind,
    OrderRule,
    Outcome,
    PluginPlan,
    Point,
    Since,
    Term,
    arrival_gate,
    build_plugin,
)
from harness.qemu.plugin.timeline import WorkloadMark, attempts_of, merge

QEMUS = os.environ.get("HARNESS_TEST_QEMUS", "qemu-system-x86_64").split(":")

pytestmark = [pytest.mark.guest, pytest.mark.timeout(120)]

BOOT, AP = frozenset({0}), frozenset({1})
LONG_US = 30_000_000


class Bench:
    """A guest with its control block, as a test uses them."""

    def __init__(self, block: ControlBlock, guest: BareGuest, addresses: dict[str, int]) -> None:
        self.block = block
        self.guest = guest
        self.addresses = addresses

    def await_held(self, vcpu: int) -> None:
        """Waits until a vCPU is held."""
        deadline = time.monotonic() + 10
        while vcpu not in {held.vcpu for held in self.block.statistics().held}:
            assert time.monotonic() < deadline, f"vCPU {vcpu} is not held"
            time.sleep(0.001)

    def timed(self, command: str, count: int) -> float:
        """How long the guest takes for a command, in seconds."""
        start = time.monotonic()
        self.guest.run(command, count)
        return time.monotonic() - start


Start = Callable[..., Bench]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    reason = missing_tools()
    if reason:
        pytest.skip(reason)
    return build_guest(tmp_path_factory.mktemp("kernel"))


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_plugin(tmp_path_factory.mktemp("plugin"))


@pytest.fixture(params=QEMUS)
def start(
    request: pytest.FixtureRequest, kernel: Path, plugin: Path, tmp_path: Path
) -> Iterator[Start]:
    """Boots the guest with rules on its points (all but "second") and arms them."""
    if shutil.which(request.param) is None:
        pytest.skip(f"no {request.param} on this host")
    addresses = point_addresses(kernel)
    with ExitStack() as stack:

        def boot(
            *rules: DelayRule | OrderRule,
            marks: tuple[str, ...] = (),
            seed: int = 0,
            log_passes: tuple[str, ...] = (),
            ring_capacity: int = 16384,
        ) -> Bench:
            points = tuple(
                Point(name, (address,), name in log_passes)
                for name, address in addresses.items()
                if name != "second"
            )
            plan = PluginPlan(points, rules, marks, seed)
            block = stack.enter_context(
                ControlBlock.create(tmp_path / "control", plan, ring_capacity)
            )
            guest = BareGuest(kernel, block.qemu_arguments(plugin), tmp_path, request.param)
            stack.enter_context(guest)
            block.arm()
            return Bench(block, guest, addresses)

        yield boot


def delay(duration_us: int, **term: object) -> Term:
    return Term(Action.DELAY, duration_us, **term)  # type: ignore[arg-type]


# ---- holds ----------------------------------------------------------------------------------


@pytest.mark.parametrize("milliseconds", [1, 5, 50])
def test_a_delay_holds_for_its_duration(start: Start, milliseconds: int) -> None:
    bench = start(DelayRule("hold", "probe", (delay(milliseconds * 1000),)))
    took_s = bench.timed("a", 3)
    events = bench.block.drain()
    assert [event.outcome for event in events] == [Outcome.DELAYED] * 3
    assert all(event.held_s >= milliseconds / 1e3 for event in events)
    # Of several, as a loaded host may wake one late.
    assert min(event.held_s for event in events) < milliseconds / 1e3 + 0.005
    assert took_s >= 3 * milliseconds / 1e3
    assert bench.block.statistics().rules["hold"].delayed == 3


def test_disarmed_it_holds_nobody_but_counts(start: Start) -> None:
    bench = start(DelayRule("hold", "probe", (delay(1_000_000),)))
    bench.block.disarm()
    assert bench.timed("a", 1000) < 0.9
    statistics = bench.block.statistics()
    assert statistics.points["probe"].arrivals == (1000, 0)
    assert statistics.points["probe"].passes == (1000, 0)
    assert statistics.rules["hold"].evaluated == 0
    assert bench.block.drain() == []


def test_only_the_held_vcpu_stands_still(start: Start) -> None:
    bench = start(DelayRule("hold", "probe", (delay(LONG_US, vcpus=BOOT),)))
    bench.guest.send("b", 500)  # both processors
    bench.await_held(0)
    deadline = time.monotonic() + 10
    while bench.block.statistics().points["probe"].passes[1] < 500:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert bench.block.statistics().points["probe"].passes == (0, 500)


def test_vcpu_filter(start: Start) -> None:
    bench = start(DelayRule("hold", "probe", (delay(1000, vcpus=AP),)))
    bench.guest.run("a", 5)
    assert bench.block.drain() == []
    bench.guest.run("A", 5)
    assert [event.vcpu for event in bench.block.drain()] == [1] * 5


def test_count_limits_the_firings_of_all_vcpus(start: Start) -> None:
    bench = start(DelayRule("hold", "probe", (delay(100, count=7),)))
    bench.guest.run("b", 50)
    rule = bench.block.statistics().rules["hold"]
    assert (rule.evaluated, rule.entered, rule.fired) == (100, 7, (7,))


def test_chain_goes_on_where_a_term_did_not_fire(start: Start) -> None:
    """As fail(9): 2*print -> 3*print(1) -> print; the second cascades."""
    terms = (
        Term(Action.PRINT, count=2),
        Term(Action.PRINT, count=3, cascade=True),
        Term(Action.PRINT),
    )
    bench = start(DelayRule("chain", "probe", terms))
    bench.guest.run("a", 7)
    fired = [event.term for event in bench.block.drain() if event.kind is EventKind.PRINT]
    assert fired == [0, 0, 1, 2, 1, 2, 1, 2, 2, 2]


def test_off_ends_a_chain(start: Start) -> None:
    terms = (Term(Action.OFF, count=4), Term(Action.PRINT), Term(Action.YIELD))
    bench = start(DelayRule("chain", "probe", terms))
    bench.guest.run("a", 10)
    assert bench.block.statistics().rules["chain"].fired == (4, 6, 0)


def test_skip_and_per_attempt(start: Start) -> None:
    rule = DelayRule("third and fourth", "probe", (Term(Action.PRINT),), skip=2, per_attempt=2)
    bench = start(rule, marks=("attempt",))
    for _ in range(3):
        bench.guest.run("m")
        bench.guest.run("a", 6)
    prints = [event for event in bench.block.drain() if event.kind is EventKind.PRINT]
    assert [event.attempt for event in prints] == [1, 1, 2, 2, 3, 3]


def splitmix_fires(seed: int, rule: int, vcpu: int, draw: int, ppm: int) -> bool:
    """The plugin's draw, from its description in docs/tcg-plugin.md."""
    word = 2**64 - 1

    def mixed(z: int) -> int:
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & word
        z = (z ^ z >> 27) * 0x94D049BB133111EB & word
        return z ^ z >> 31

    step = 0x9E3779B97F4A7C15
    stream = mixed(seed + step * (rule * 64 + vcpu + 1) & word)
    return (mixed(stream + step * (draw + 1) & word) >> 32) * 1_000_000 >> 32 < ppm


def test_probability_is_the_seeds(start: Start) -> None:
    chain = DelayRule("chance", "probe", (Term(Action.PRINT, probability_ppm=20_000),))
    bench = start(chain, seed=1234)

    def fired(command: str) -> int:
        before = bench.block.statistics().rules["chance"].fired[0]
        bench.guest.run(command, 5000)
        return bench.block.statistics().rules["chance"].fired[0] - before

    def expected(seed: int, vcpu: int, first: int = 0) -> int:
        draws = range(first, first + 5000)
        return sum(splitmix_fires(seed, 0, vcpu, draw, 20_000) for draw in draws)

    first = fired("a")
    assert 50 < first < 160
    assert first == expected(1234, 0)
    assert fired("A") == expected(1234, 1)
    assert fired("a") == expected(1234, 0, 5000)
    bench.block.start(99)
    assert fired("a") == expected(99, 0)
    bench.block.start()
    assert fired("a") == first


# ---- the end of holds -----------------------------------------------------------------------


@pytest.mark.parametrize("action", ["delay", "pause", "order"])
def test_disarming_ends_a_hold_within_50_ms(start: Start, action: str) -> None:
    rule = {
        "delay": DelayRule("hold", "probe", (delay(LONG_US),)),
        "pause": DelayRule("hold", "probe", (Term(Action.PAUSE),)),
        "order": OrderRule("hold", "probe", "release", LONG_US),
    }[action]
    bench = start(rule)
    took_s = []
    for _ in range(3):
        bench.block.arm()
        bench.guest.send("a", 1)
        bench.await_held(0)
        begin = time.monotonic()
        bench.block.disarm()
        took_s.append(time.monotonic() - begin)
        assert bench.guest.result() == 1
    assert min(took_s) < 0.05
    assert [event.outcome for event in bench.block.drain()] == [Outcome.CANCELLED] * 3
    assert bench.block.statistics().rules["hold"].cancelled == 3


def test_the_guest_stops_and_ends_within_50_ms_of_a_hold(start: Start) -> None:
    bench = start(DelayRule("hold", "probe", (Term(Action.PAUSE),)))
    bench.guest.send("a", 1)
    bench.await_held(0)
    took_s = []
    for _ in range(3):
        begin = time.monotonic()
        with bench.block.disarmed():
            bench.guest.qmp("stop")
            took_s.append(time.monotonic() - begin)
            bench.guest.qmp("cont")
        bench.guest.result()
        bench.guest.send("a", 1)
        bench.await_held(0)
    assert min(took_s) < 0.05
    assert bench.block.armed
    begin = time.monotonic()
    bench.block.quit()
    bench.guest.qmp("quit")
    bench.guest.process.wait(timeout=10)
    assert time.monotonic() - begin < 1
    assert not bench.block.attached


def test_a_snapshot_taken_in_a_hold_and_restored(
    kernel: Path, plugin: Path, tmp_path: Path
) -> None:
    if shutil.which("qemu-img") is None:
        pytest.skip("no qemu-img on this host")
    disk = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(disk), "1M"], check=True)
    addresses = point_addresses(kernel)
    plan = PluginPlan(
        (Point("probe", (addresses["probe"],)),),
        (DelayRule("hold", "probe", (Term(Action.PAUSE),)),),
    )
    with (
        ControlBlock.create(tmp_path / "control", plan) as block,
        BareGuest(
            kernel,
            [*block.qemu_arguments(plugin), "-drive", f"if=none,format=qcow2,file={disk}"],
            tmp_path,
        ) as guest,
    ):
        bench = Bench(block, guest, addresses)
        block.arm()
        guest.send("a", 1)
        bench.await_held(0)
        with block.disarmed():
            assert guest.monitor("savevm held") == ""
        guest.result()
        instrumented = block.statistics().points["probe"].instrumented[addresses["probe"]]
        with block.disarmed():
            assert guest.monitor("loadvm held") == ""
        guest.send("a", 1)
        bench.await_held(0)
        block.disarm()
        assert guest.result() == 1
        point = block.statistics().points["probe"]
        assert point.instrumented[addresses["probe"]] > instrumented  # translated anew


def test_disabling_a_rule_ends_its_holds_only(start: Start) -> None:
    bench = start(
        DelayRule("boot", "probe", (Term(Action.PAUSE, vcpus=BOOT),)),
        DelayRule("ap", "probe", (Term(Action.PAUSE, vcpus=AP),)),
    )
    bench.guest.send("b", 1)
    bench.await_held(0)
    bench.await_held(1)
    bench.block.disable("ap")
    time.sleep(0.05)
    assert [held.rule for held in bench.block.statistics().held] == ["boot"]
    bench.block.disable("boot")
    assert bench.guest.result() == 1
    bench.block.enable("ap")
    bench.guest.send("A", 1)
    bench.await_held(1)


def test_a_killed_qemu_does_not_block_the_harness(start: Start) -> None:
    bench = start(DelayRule("hold", "probe", (Term(Action.PAUSE),)))
    bench.guest.send("a", 1)
    bench.await_held(0)
    os.kill(bench.guest.process.pid, signal.SIGKILL)
    bench.guest.process.wait(timeout=10)
    bench.block.disarm()
    assert not bench.block.attached
    assert bench.block.statistics().held == ()


# ---- orders ---------------------------------------------------------------------------------

GATE = arrival_gate("gate", "gate", "window", LONG_US, vcpus=BOOT, arriving_vcpus=AP)
WINDOW_LAST = OrderRule(
    "window last", "window", "release", LONG_US, since=Since.MARK, vcpus=AP, until_vcpus=BOOT
)


def test_a_forced_order_is_reached_and_effective(start: Start) -> None:
    bench = start(GATE, WINDOW_LAST, marks=("attempt",))
    assert bench.guest.run("r", 300) == 300
    bench.block.disarm()
    assert bench.guest.run("r", 300) < 150
    statistics = bench.block.statistics()
    for name in ("gate", "window last"):
        assert statistics.rules[name].reached == 300
        assert statistics.rules[name].timed_out == 0
    assert statistics.attempts == 300
    events = bench.block.drain()
    one = attempts_of(events, 17)
    assert {event.kind for event in one} == {EventKind.MARK, EventKind.HOLD}
    # The mark, then who arrived at the window, then the gate, which waited for that.
    window = next(event for event in one if event.rule == "window last")
    gate = next(event for event in one if event.rule == "gate")
    assert one[0].kind is EventKind.MARK
    assert one[0].end_ns <= window.start_ns <= gate.end_ns <= window.end_ns
    marks = [WorkloadMark(window.end_ns + 1, "result")]
    drawn = text_diagram(merge(one, marks, bench.block.plan), column_width=60)
    assert "held at window until release (window last)" in drawn


def test_an_order_that_cannot_be_met_times_out(start: Start) -> None:
    bench = start(OrderRule("never", "probe", "release", 30_000, vcpus=BOOT))
    took_s = bench.timed("a", 2)
    assert took_s >= 0.06
    events = bench.block.drain()
    assert [(event.outcome, event.value) for event in events] == [(Outcome.TIMED_OUT, 0)] * 2
    assert all(event.held_s >= 0.03 for event in events)
    assert min(event.held_s for event in events) < 0.05
    assert bench.block.statistics().rules["never"].timed_out == 2


def test_an_order_counts_from_the_arrival(start: Start) -> None:
    """Held on the one processor until the other has passed the same point 5 times more."""
    rule = OrderRule(
        "five more", "probe", "probe", LONG_US, times=5, vcpus=BOOT, until_other=True, count=1
    )
    slow = DelayRule("slow", "probe", (delay(2000, vcpus=AP),))
    bench = start(rule, slow)
    bench.guest.run("A", 20)  # before: does not count
    bench.guest.run("b", 100)
    events = bench.block.drain()
    (held,) = (event for event in events if event.rule == "five more")
    assert held.outcome is Outcome.REACHED
    assert held.value == 5
    passed = [event for event in events if event.vcpu == 1 and event.start_ns > held.start_ns]
    assert passed[3].end_ns < held.end_ns < passed[6].end_ns


def test_an_order_counts_since_the_start(start: Start) -> None:
    rule = OrderRule(
        "since start", "probe", "attempt", LONG_US, times=3, since=Since.START, vcpus=BOOT
    )
    bench = start(rule)
    for _ in range(3):
        bench.guest.run("m")
    bench.guest.run("a", 2)
    assert [event.value for event in bench.block.drain()] == [3, 3]
    bench.block.start()
    bench.guest.send("a", 1)
    bench.await_held(0)
    bench.block.disarm()
    assert bench.guest.result() == 1


def test_a_rendezvous(start: Start) -> None:
    """Who comes first to the point waits for the second: arrivals, everybody's, since the mark."""
    rule = OrderRule(
        "meet",
        "probe",
        "probe",
        LONG_US,
        times=2,
        since=Since.MARK,
        counting=Counting.ARRIVALS,
        per_attempt=2,
    )
    bench = start(rule, marks=("attempt",))
    for _ in range(20):
        bench.guest.run("m")
        bench.guest.run("b", 1)
    holds = [event for event in bench.block.drain() if event.kind is EventKind.HOLD]
    assert [event.outcome for event in holds] == [Outcome.REACHED] * 40
    for attempt in range(1, 21):
        # Nobody is let go before both have come.
        pair = [event for event in holds if event.attempt == attempt]
        assert {event.vcpu for event in pair} == {0, 1}
        assert [event.value for event in pair] == [2, 2]


def test_two_stages_at_one_point_run_in_their_order(start: Start) -> None:
    stages = (
        OrderRule("first", "window", "gate", LONG_US, since=Since.MARK, vcpus=AP),
        OrderRule("second", "window", "release", LONG_US, vcpus=AP, then_delay_us=2000),
    )
    bench = start(GATE, *stages, marks=("attempt",))
    assert bench.guest.run("r", 50) == 50
    holds = [event for event in bench.block.drain() if event.vcpu == 1]
    assert [event.rule for event in holds] == ["first", "second"] * 50
    assert all(event.outcome is Outcome.REACHED for event in holds)
    assert all(event.held_s >= 0.002 for event in holds if event.rule == "second")


def test_chance_and_count_of_an_order(start: Start) -> None:
    rule = OrderRule(
        "sometimes", "probe", "release", 1000, probability_ppm=250_000, count=10, vcpus=BOOT
    )
    bench = start(rule, seed=5)
    bench.guest.run("a", 200)
    rule_statistics = bench.block.statistics().rules["sometimes"]
    assert (rule_statistics.entered, rule_statistics.timed_out) == (10, 10)


# ---- changes while the guest runs -----------------------------------------------------------


def test_rules_change_while_the_guest_runs(start: Start) -> None:
    bench = start(DelayRule("hold", "probe", (delay(LONG_US),)))
    bench.guest.send("a", 1)
    bench.await_held(0)
    bench.block.set_rules((DelayRule("short", "probe", (delay(3000),)),))
    assert bench.guest.result() == 1
    bench.guest.run("a", 4)
    events = bench.block.drain()
    assert [event.rule for event in events] == ["hold", "short", "short", "short", "short"]
    assert events[0].outcome is Outcome.CANCELLED
    assert 0.012 <= sum(event.held_s for event in events[1:]) < 0.1


def test_new_addresses_in_an_idle_guest(start: Start) -> None:
    bench = start()
    bench.guest.run("d", 10)  # translated without the callback
    point = Point("second", (bench.addresses["second"],))
    plan = PluginPlan((point,), (DelayRule("hold", "second", (delay(2000),)),))
    bench.block.replace(plan, nudge=lambda: bench.guest.qmp("stop", "cont") and None)
    bench.guest.run("d", 5)
    statistics = bench.block.statistics()
    assert statistics.points["second"].arrivals == (5, 0)
    assert statistics.points["second"].instrumented == {bench.addresses["second"]: 1}
    assert [event.outcome for event in bench.block.drain()] == [Outcome.DELAYED] * 5


def test_a_plan_without_points_does_not_watch_translations(
    kernel: Path, plugin: Path, tmp_path: Path
) -> None:
    address = point_addresses(kernel)["probe"]
    with (
        ControlBlock.create(tmp_path / "control", PluginPlan(())) as block,
        BareGuest(kernel, block.qemu_arguments(plugin), tmp_path) as guest,
    ):
        guest.run("a", 10)
        assert block.statistics().blocks_translated == 0
        plan = PluginPlan((Point("probe", (address,)),))
        block.replace(plan, nudge=lambda: guest.qmp("stop", "cont") and None)
        guest.run("a", 10)
        assert block.statistics().points["probe"].hits == 10
        block.replace(PluginPlan(()), nudge=lambda: guest.qmp("stop", "cont") and None)
        translated = block.statistics().blocks_translated
        guest.run("d", 10)
        assert block.statistics().blocks_translated == translated > 0


def test_new_addresses_in_a_spinning_guest_need_a_nudge(start: Start) -> None:
    bench = start()
    bench.guest.send("s")
    time.sleep(0.1)
    plan = PluginPlan((Point("second", (bench.addresses["second"],)),))
    with pytest.raises(InfrastructureError, match="stop and cont"):
        bench.block.replace(plan, timeout_s=0.1)
    bench.guest.qmp("stop", "cont")
    bench.block.replace(plan, nudge=lambda: bench.guest.qmp("stop", "cont") and None)
    bench.guest.send("d", 3)
    bench.guest.result()
    bench.guest.result()
    assert bench.block.statistics().points["second"].hits == 3


def test_arming_and_disarming_at_random_loses_no_pass(start: Start) -> None:
    bench = start(GATE, WINDOW_LAST, marks=("attempt",), log_passes=("release",))
    stop = threading.Event()

    def toggle() -> None:
        while not stop.is_set():
            bench.block.disarm()
            bench.block.arm()
            time.sleep(0.001)

    thread = threading.Thread(target=toggle)
    thread.start()
    try:
        bench.guest.run("r", 1000, timeout_s=60)
    finally:
        stop.set()
        thread.join()
    assert bench.block.statistics().points["release"].passes == (1000, 0)
    assert bench.block.statistics().points["window"].passes == (0, 1000)


# ---- the log --------------------------------------------------------------------------------


def test_the_ring_keeps_the_newest_events_and_counts_the_lost(start: Start) -> None:
    bench = start(log_passes=("probe",), ring_capacity=64)
    bench.guest.run("b", 500)
    events = bench.block.drain()
    assert len(events) == 64
    assert bench.block.statistics().lost_events == 1000 - 64
    assert all(event.kind is EventKind.PASS and event.point == "probe" for event in events)
    assert all(event.address == bench.addresses["probe"] for event in events)


def test_two_vcpus_events_are_whole(start: Start) -> None:
    bench = start(log_passes=("probe",), marks=("attempt",))
    begin = time.monotonic_ns()
    bench.guest.run("b", 3000)
    events = bench.block.drain()
    for vcpu in (0, 1):
        times = [event.start_ns for event in events if event.vcpu == vcpu]
        assert len(times) == 3000
        assert times == sorted(times)
        assert begin <= times[0] <= times[-1] <= time.monotonic_ns()


def test_the_plugin_refuses_a_foreign_file(kernel: Path, plugin: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.write_bytes(bytes(2_000_000))
    with pytest.raises(EOFError, match="no magic number"):
        BareGuest(kernel, ["-plugin", f"file={plugin},shm={foreign}"], tmp_path)
