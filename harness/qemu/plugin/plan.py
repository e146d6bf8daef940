# SPDX-License-Identifier: BSD-2-Clause
"""What the plugin is to do: points in the guest's code, and the rules that hold vCPUs there."""

from collections import Counter
from dataclasses import dataclass
from enum import IntEnum

from harness.errors import ConfigurationError
from harness.qemu.plugin import layout

ALWAYS_PPM = layout.ALWAYS
"""The probability 1, in parts per million."""


class Action(IntEnum):
    """What a term of a delay rule does once it fires."""

    OFF = layout.OFF
    DELAY = layout.DELAY
    PAUSE = layout.PAUSE
    PRINT = layout.PRINT
    YIELD = layout.YIELD


class Since(IntEnum):
    """From when an order counts the passes that it waits for."""

    ARRIVAL = layout.SINCE_ARRIVAL
    MARK = layout.SINCE_MARK
    START = layout.SINCE_START


class Counting(IntEnum):
    """Whether an order counts a point's arrivals (before its rules) or passes (after them)."""

    PASSES = layout.PASSES
    ARRIVALS = layout.ARRIVALS


@dataclass(frozen=True)
class Point:
    """A place in the guest's code: hit when a vCPU executes an instruction at one of `addresses`.

    Addresses are virtual, of the first byte of an instruction, in the kernel or in user space
    (where every process that has code there hits it). `log_passes` makes every pass an event
    while the plugin is armed.
    """

    name: str
    addresses: tuple[int, ...]
    log_passes: bool = False


@dataclass(frozen=True)
class Term:
    """One term of a chain as in fail(9): an action, how often, and on which vCPUs.

    `duration_us` is for DELAY, in microseconds. `probability_ppm` is in parts per million, 1 to
    1,000,000. `count` is the largest number of firings since the start, None for no limit.
    `vcpus` are QEMU's indices, None for all. `cascade` lets a PRINT go on with the next term.
    """

    action: Action
    duration_us: int = 0
    probability_ppm: int = ALWAYS_PPM
    count: int | None = None
    vcpus: frozenset[int] | None = None
    cascade: bool = False


@dataclass(frozen=True)
class DelayRule:
    """A chain of terms at a point: the first term that fires ends the chain.

    `skip` lets so many arrivals (of the vCPUs of a term) in an attempt go by; `per_attempt` limits
    the firings in an attempt. Without marks everything since the start is one attempt.
    """

    name: str
    point: str
    terms: tuple[Term, ...]
    skip: int = 0
    per_attempt: int | None = None
    enabled: bool = True


@dataclass(frozen=True)
class OrderRule:
    """Holds who comes to `point` until `until` has been passed `times` times, at most `timeout_us`.

    `vcpus` says who is held, `until_vcpus` whose passes count (None: everybody's); `until_other`
    leaves the held vCPU's own passes out. `since` and `counting` say from when, and what is
    counted. `then_delay_us` goes on holding after the order was reached. The rest is as in Term
    and DelayRule.
    """

    name: str
    point: str
    until: str
    timeout_us: int
    times: int = 1
    since: Since = Since.ARRIVAL
    counting: Counting = Counting.PASSES
    vcpus: frozenset[int] | None = None
    until_vcpus: frozenset[int] | None = None
    until_other: bool = False
    probability_ppm: int = ALWAYS_PPM
    count: int | None = None
    skip: int = 0
    per_attempt: int | None = None
    then_delay_us: int = 0
    enabled: bool = True


Rule = DelayRule | OrderRule


def arrival_gate(
    name: str,
    point: str,
    arrival_at: str,
    timeout_us: int,
    *,
    vcpus: frozenset[int] | None = None,
    arriving_vcpus: frozenset[int] | None = None,
) -> OrderRule:
    """An order that lets nobody beyond `point` before somebody has come to `arrival_at`.

    Counts arrivals since the last mark, so it is open for who comes second, whoever that is.
    """
    return OrderRule(
        name=name,
        point=point,
        until=arrival_at,
        timeout_us=timeout_us,
        since=Since.MARK,
        counting=Counting.ARRIVALS,
        vcpus=vcpus,
        until_vcpus=arriving_vcpus,
    )


@dataclass(frozen=True)
class PluginPlan:
    """Everything the plugin is told: points, rules in the order in which they are executed, marks.

    `marks` names the points whose hits begin the next attempt. `seed` (64 bits) determines every
    probability's outcome: the n-th draw of a rule on a vCPU depends on nothing else.
    Raises ConfigurationError for what the control block cannot hold or what makes no sense.
    """

    points: tuple[Point, ...]
    rules: tuple[Rule, ...] = ()
    marks: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        _check_points(self.points)
        names = {point.name for point in self.points}
        for mark in self.marks:
            _check_known("a mark", mark, names)
        check_rules(self.rules, self.points)
        check_seed(self.seed)

    def point_index(self, name: str) -> int:
        """The index of a point in the control block."""
        return [point.name for point in self.points].index(name)


def check_seed(seed: int) -> None:
    """Raises ConfigurationError unless the seed has at most 64 bits."""
    _check_range("plugin plan", "seed", seed, 0, 2**64 - 1)


def check_rules(rules: tuple[Rule, ...], points: tuple[Point, ...]) -> None:
    """Raises ConfigurationError if the rules do not fit the points or the control block."""
    _check_number("rules", len(rules), layout.MAX_RULES)
    _check_distinct("rule", [rule.name for rule in rules])
    names = {point.name for point in points}
    for rule in rules:
        where = f"rule {rule.name!r}"
        _check_known(where, rule.point, names)
        _check_range(where, "skip", rule.skip, 0, 2**63)
        _check_limit(where, "per_attempt", rule.per_attempt, 2**32 - 1)
        if isinstance(rule, OrderRule):
            _check_order(where, rule, names)
        else:
            _check_number(f"terms in {where}", len(rule.terms), layout.MAX_TERMS, least=1)
            for term in rule.terms:
                _check_term(where, term)


def _check_points(points: tuple[Point, ...]) -> None:
    _check_number("points", len(points), layout.MAX_POINTS)
    _check_number("addresses", sum(len(p.addresses) for p in points), layout.MAX_PLACES)
    _check_distinct("point", [point.name for point in points])
    for point in points:
        where = f"point {point.name!r}"
        if not point.addresses:
            raise ConfigurationError(f"{where} has no address; a point needs at least one")
        _check_distinct(f"address of {where}", [hex(a) for a in point.addresses])
        for address in point.addresses:
            _check_range(where, "address", address, 0, 2**64 - 1)


def _check_order(where: str, rule: OrderRule, names: set[str]) -> None:
    _check_known(where, rule.until, names)
    _check_range(where, "times", rule.times, 1, 2**63)
    _check_range(where, "timeout_us", rule.timeout_us, 1, layout.MAX_DURATION_US)
    _check_range(where, "then_delay_us", rule.then_delay_us, 0, layout.MAX_DURATION_US)
    _check_range(where, "probability_ppm", rule.probability_ppm, 1, ALWAYS_PPM)
    _check_limit(where, "count", rule.count, 2**63)
    _check_vcpus(where, rule.vcpus)
    _check_vcpus(where, rule.until_vcpus)
    held, awaited = rule.vcpus, rule.until_vcpus
    if rule.until_other and awaited is not None and awaited == held and len(awaited) == 1:
        raise ConfigurationError(
            f"{where} waits for the passes of the vCPU that it holds, and leaves them out"
        )


def _check_term(where: str, term: Term) -> None:
    _check_range(where, "duration_us", term.duration_us, 0, layout.MAX_DURATION_US)
    _check_range(where, "probability_ppm", term.probability_ppm, 1, ALWAYS_PPM)
    _check_limit(where, "count", term.count, 2**63)
    _check_vcpus(where, term.vcpus)
    if (term.action is Action.DELAY) != (term.duration_us > 0):
        raise ConfigurationError(
            f"{where}: {term.action.name} with duration_us = {term.duration_us}; "
            "expected a duration with DELAY, and with nothing else"
        )
    if term.cascade and term.action is not Action.PRINT:
        raise ConfigurationError(f"{where}: {term.action.name} cannot cascade; only PRINT can")


def _check_vcpus(where: str, vcpus: frozenset[int] | None) -> None:
    if vcpus is not None and (not vcpus or not all(0 <= v < layout.MAX_VCPUS for v in vcpus)):
        raise ConfigurationError(
            f"{where}: vCPUs {sorted(vcpus)}; expected some of 0 to {layout.MAX_VCPUS - 1}, or None"
        )


def _check_limit(where: str, what: str, value: int | None, most: int) -> None:
    if value is not None:
        _check_range(where, what, value, 1, most)


def _check_range(where: str, what: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise ConfigurationError(f"{where}: {what} is {value}; expected {least} to {most}")


def _check_number(what: str, number: int, most: int, least: int = 0) -> None:
    if not least <= number <= most:
        raise ConfigurationError(f"plugin plan: {number} {what}; expected {least} to {most}")


def _check_known(where: str, name: str, names: set[str]) -> None:
    if name not in names:
        raise ConfigurationError(
            f"{where} names the point {name!r}; the plan has {', '.join(sorted(names)) or 'none'}"
        )


def _check_distinct(what: str, names: list[str]) -> None:
    for name, number in Counter(names).items():
        if number > 1:
            raise ConfigurationError(f"plugin plan: {what} {name} occurs {number} times")
