# SPDX-License-Identifier: BSD-2-Clause
"""The harness's side of the control block, with no QEMU: the plugin's part is written here."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import ConfigurationError, InfrastructureError, UsageError
from harness.qemu.plugin import (
    Action,
    ControlBlock,
    DelayRule,
    Event,
    EventKind,
    OrderRule,
    Outcome,
    PluginPlan,
    Point,
    Since,
    Term,
    layout,
)

POINTS = (Point("a", (0x3000, 0x1000)), Point("b", (0x2000,), log_passes=True), Point("c", (1,)))
CHAIN = DelayRule(
    "chain",
    "a",
    (
        Term(Action.DELAY, 1500, probability_ppm=1, count=3, vcpus=frozenset({0, 5})),
        Term(Action.PRINT, cascade=True),
    ),
    skip=2,
    per_attempt=9,
)
ORDER = OrderRule("order", "a", "b", 70, times=4, since=Since.MARK, until_other=True, enabled=False)
PLAN = PluginPlan(POINTS, (CHAIN, ORDER), marks=("c",), seed=2**64 - 1)


class FakePlugin:
    """Reads and writes a control block's file as the plugin would."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("r+b", buffering=0)

    def word(self, offset: int) -> int:
        return int(struct.unpack("=I", os.pread(self.file.fileno(), 4, offset))[0])

    def long(self, offset: int) -> int:
        return int(struct.unpack("=Q", os.pread(self.file.fileno(), 8, offset))[0])

    def set_word(self, offset: int, value: int) -> None:
        os.pwrite(self.file.fileno(), struct.pack("=I", value), offset)

    def set_long(self, offset: int, value: int) -> None:
        os.pwrite(self.file.fileno(), struct.pack("=Q", value), offset)

    def raw(self, offset: int, size: int) -> bytes:
        return os.pread(self.file.fileno(), size, offset)

    def attach(self, vcpus: int = 2) -> None:
        self.set_word(layout.AT_VCPU_COUNT, vcpus)
        self.set_word(layout.AT_ATTACHED_PID, os.getpid())

    def log(self, ticket: int, capacity: int, sequence: int | None = None) -> None:
        """Writes a hold of rule 1 at point 0 on vCPU 1, in attempt `ticket`."""
        what = layout.EVENT_HOLD | layout.REACHED << 8 | 0 << 16 | 1 << 32
        begun = 2 * ticket + 2 if sequence is None else sequence
        raw = layout.EVENT.pack(begun, what, 1 | 0 << 32, ticket, 1000, 4000, 0x1000, 7)
        at = layout.HEADER_SIZE + ticket % capacity * layout.EVENT.size
        os.pwrite(self.file.fileno(), raw, at)
        self.set_long(layout.AT_RING_HEAD, max(ticket + 1, self.long(layout.AT_RING_HEAD)))


@pytest.fixture
def block(tmp_path: Path) -> Iterator[ControlBlock]:
    with ControlBlock.create(tmp_path / "control", PLAN, ring_capacity=8) as made:
        yield made


@pytest.fixture
def plugin(block: ControlBlock) -> Iterator[FakePlugin]:
    fake = FakePlugin(block.path)
    yield fake
    fake.file.close()


def test_the_file_tells_what_it_is(plugin: FakePlugin, block: ControlBlock) -> None:
    assert plugin.long(layout.AT_MAGIC) == layout.MAGIC
    assert plugin.word(layout.AT_VERSION) == layout.VERSION
    assert plugin.word(layout.AT_HEADER_SIZE) == layout.HEADER_SIZE
    assert plugin.long(layout.AT_SIZE) == block.path.stat().st_size == layout.block_size(8)
    assert plugin.long(layout.AT_SEED) == 2**64 - 1
    assert not block.armed
    assert not block.attached
    assert block.path.stat().st_mode & 0o077 == 0


def test_places_are_sorted_and_points_flagged(plugin: FakePlugin) -> None:
    places = [
        layout.PLACE.unpack(plugin.raw(layout.AT_PLACES + i * layout.PLACE.size, 16))
        for i in range(plugin.word(layout.AT_PLACE_COUNT))
    ]
    assert places == [(1, 2, 0), (0x1000, 0, 0), (0x2000, 1, 0), (0x3000, 0, 0)]
    points = [
        layout.POINT.unpack(plugin.raw(layout.AT_POINTS + i * layout.POINT.size, 32))
        for i in range(plugin.word(layout.AT_POINT_COUNT))
    ]
    log_and_awaited = layout.POINT_LOG | layout.POINT_AWAITED
    assert points == [(0, 0, 3, 0), (log_and_awaited, 0, 0, 0), (layout.POINT_MARK, 0, 0, 0)]


def test_rules_as_bytes(plugin: FakePlugin) -> None:
    head = layout.RULE_HEAD.unpack(plugin.raw(layout.rule(0), layout.RULE_HEAD.size))
    assert head[:4] == (1, 2, 2, 9)
    at = layout.rule(0) + layout.RULE_HEAD.size
    terms = [layout.TERM.unpack(plugin.raw(at + i * 32, 32)) for i in range(2)]
    assert terms == [
        (0b100001, 3, 1_500_000, 1, layout.DELAY, 0),
        (2**64 - 1, 0, 0, 1_000_000, layout.PRINT, 1),
    ]
    head = layout.RULE_HEAD.unpack(plugin.raw(layout.rule(1), layout.RULE_HEAD.size))
    everybody = 2**64 - 1
    assert head == (0, 1, 0, 0, everybody, 4, 70_000, 1, layout.SINCE_MARK, layout.PASSES, 1)


def test_every_switch_changes_the_word(plugin: FakePlugin, block: ControlBlock) -> None:
    block.arm()
    block.arm()
    assert plugin.word(layout.AT_ARMED) == 1
    block.disarm()
    assert plugin.word(layout.AT_ARMED) == 2
    block.arm()
    with block.disarmed():
        assert not block.armed
    assert block.armed
    assert plugin.word(layout.AT_ARMED) == 5


def test_enable_and_disable(plugin: FakePlugin, block: ControlBlock) -> None:
    block.enable("order")
    block.disable("chain")
    assert (plugin.word(layout.rule(0)), plugin.word(layout.rule(1))) == (0, 1)
    with pytest.raises(UsageError, match="no rule 'x'; there are chain, order"):
        block.enable("x")


def test_events_are_named(plugin: FakePlugin, block: ControlBlock) -> None:
    plugin.log(0, 8)
    assert block.drain() == [
        Event(
            kind=EventKind.HOLD,
            outcome=Outcome.REACHED,
            vcpu=1,
            point="a",
            address=0x1000,
            rule="order",
            term=0,
            attempt=0,
            start_ns=1000,
            end_ns=4000,
            value=7,
        )
    ]
    assert block.drain() == []


def test_an_unfinished_event_ends_a_drain_until_it_is_there(
    plugin: FakePlugin, block: ControlBlock
) -> None:
    plugin.log(0, 8)
    plugin.log(2, 8)
    assert [event.attempt for event in block.drain()] == [0]
    plugin.log(1, 8, sequence=3)  # begun
    assert block.drain() == []
    plugin.log(1, 8)
    assert [event.attempt for event in block.drain()] == [1, 2]


def test_overwritten_events_are_counted(plugin: FakePlugin, block: ControlBlock) -> None:
    for ticket in range(20):
        plugin.log(ticket, 8)
    assert [event.attempt for event in block.drain()] == list(range(12, 20))
    assert block.statistics().lost_events == 12
    plugin.log(20, 8)
    plugin.log(29, 8)  # in the place of 21, while 22 to 28 are being written
    plugin.set_long(layout.AT_RING_HEAD, 22)
    assert [event.attempt for event in block.drain()] == [20]
    assert block.statistics().lost_events == 13


def test_statistics(plugin: FakePlugin, block: ControlBlock) -> None:
    plugin.attach(vcpus=2)
    at = layout.vcpu(1)
    plugin.set_long(at + layout.VCPU_COUNTS + 8, 12)  # arrivals at b
    plugin.set_long(at + layout.VCPU_AT_START + 8, 2)
    plugin.set_long(at + layout.VCPU_COUNTS + 8 * layout.MAX_POINTS + 8, 11)  # passes
    plugin.set_word(at + layout.VCPU_HELD_RULE, 2)
    plugin.set_long(at + layout.VCPU_HELD_SINCE, 3_000_000_000)
    counters = layout.rule_counters(1)
    for index, value in enumerate((9, 8, 4, 2, 1, 1, 5_000_000, 4_000_000, 0, 8)):
        plugin.set_long(counters + 8 * index, value)
    statistics = block.statistics()
    assert statistics.points["b"].arrivals == (0, 10)
    assert statistics.points["b"].passes == (0, 11)
    assert statistics.points["b"].instrumented == {0x2000: 0}
    rule = statistics.rules["order"]
    assert (rule.evaluated, rule.entered, rule.reached, rule.timed_out) == (9, 8, 4, 2)
    assert (rule.held_s, rule.longest_s, rule.fired) == (0.005, 0.004, (8,))
    assert [(held.vcpu, held.rule, held.since_s) for held in statistics.held] == [(1, "order", 3)]
    assert statistics.as_dict()["points"]["b"]["instrumented"] == {"0x2000": 0}


def test_start_resets_what_was_counted(plugin: FakePlugin, block: ControlBlock) -> None:
    plugin.attach()
    plugin.set_long(layout.vcpu(0) + layout.VCPU_COUNTS, 5)
    plugin.set_long(layout.vcpu(0) + layout.VCPU_DRAWS, 5)
    plugin.set_long(layout.rule_counters(0), 5)
    plugin.set_long(layout.AT_ATTEMPT, 5)
    plugin.log(0, 8)
    block.arm()
    block.start(seed=77)
    assert block.armed
    assert plugin.long(layout.AT_SEED) == 77
    assert plugin.long(layout.vcpu(0) + layout.VCPU_DRAWS) == 0
    assert plugin.long(layout.vcpu(0) + layout.VCPU_AT_MARK) == 5
    statistics = block.statistics()
    assert statistics.points["a"].hits == 0
    assert statistics.rules["chain"].evaluated == 0
    assert statistics.attempts == 0
    assert block.drain() == []
    block.start()
    assert plugin.long(layout.AT_SEED) == PLAN.seed


def test_new_rules_keep_the_events_of_the_old(plugin: FakePlugin, block: ControlBlock) -> None:
    plugin.log(0, 8)
    block.set_rules((DelayRule("new", "b", (Term(Action.YIELD),)),))
    assert plugin.word(layout.AT_RULE_COUNT) == 1
    assert [event.rule for event in block.drain()] == ["order"]
    assert list(block.statistics().rules) == ["new"]
    with pytest.raises(ConfigurationError, match="names the point 'x'"):
        block.set_rules((DelayRule("new", "x", (Term(Action.YIELD),)),))
    assert [rule.name for rule in block.plan.rules] == ["new"]


def test_replacing_waits_for_the_plugin(plugin: FakePlugin, block: ControlBlock) -> None:
    plugin.attach()
    other = PluginPlan((Point("z", (9,)),))
    with pytest.raises(InfrastructureError, match="stop and cont"):
        block.replace(other, timeout_s=0.01)

    def reload() -> None:
        assert plugin.word(layout.AT_PLACE_COUNT) == 1
        plugin.set_word(layout.AT_PLAN_ACTIVE, plugin.word(layout.AT_PLAN_WANTED))

    block.arm()
    block.replace(other, timeout_s=0.01, nudge=reload)
    assert block.armed
    assert plugin.word(layout.AT_PLAN_WANTED) == 4
    assert list(block.statistics().points) == ["z"]


def test_a_vcpu_that_does_not_leave_its_rule_is_named(
    plugin: FakePlugin, block: ControlBlock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.qemu.plugin.control._QUIET_TIMEOUT_S", 0.01)
    plugin.attach()
    plugin.set_word(layout.vcpu(1) + layout.VCPU_BUSY, 1)
    block.arm()
    with pytest.raises(InfrastructureError, match="vCPU 1 is still in a rule"):
        block.disarm()
    plugin.set_word(layout.AT_ATTACHED_PID, 0)  # QEMU has gone
    block.disarm()
    assert plugin.word(layout.vcpu(1) + layout.VCPU_BUSY) == 0


def test_closing_ends_all_holds_and_removes_the_file(tmp_path: Path) -> None:
    block = ControlBlock.create(tmp_path / "control", PLAN)
    plugin = FakePlugin(block.path)
    block.close()
    block.close()
    assert plugin.word(layout.AT_QUIT) == 1
    plugin.file.close()
    assert list(tmp_path.iterdir()) == []


def test_arguments_for_qemu(tmp_path: Path) -> None:
    with ControlBlock.create(tmp_path / "a,b", PLAN) as block:
        plugin, value = block.qemu_arguments(Path("/x/y,z.so"))
    assert (plugin, value) == ("-plugin", f"file=/x/y,,z.so,shm={tmp_path}/a,,b")


def test_what_cannot_be_created(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="power of two"):
        ControlBlock.create(tmp_path / "control", PLAN, ring_capacity=100)
    with pytest.raises(InfrastructureError, match="cannot create the plugin's control block"):
        ControlBlock.create(tmp_path / "missing" / "control", PLAN)
