# SPDX-License-Identifier: BSD-2-Clause
"""A target's failpoints and orders at places of the kernel or workload, for one trial."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

from harness.console.guest_channel import GuestChannel
from harness.errors import ConfigurationError, GuestError
from harness.failpoints.grammar import Action, Term, parse_setting
from harness.places.dwarf import LineTable
from harness.places.image import KernelImage, LoadedModule
from harness.places.resolve import ResolvedPlace, resolve
from harness.places.symbols import SymbolTable
from harness.places.syntax import AddressPlace, FunctionPlace, LinePlace, Place, parse_place
from harness.plan.rules import FailpointModel, OrderModel, PlaceModel, RuleModel
from harness.plan.target import ArmModel, TargetModel
from harness.qemu import plugin
from harness.qemu.plugin.statistics import RuleStatistics
from harness.trials.returns import ForcedReturn, forced_returns

_CONTROL_BLOCK = "failpoints.shm"
_EVENTS = "failpoints.jsonl"
_MAX_EVENTS = 20_000
"""Events of one trial that are kept; the counts are complete all the same."""


@dataclass(frozen=True)
class KernelCode:
    """The kernel and workload at hand, to find places in. `workload` is an ELF file's content.

    `lines` opens the source lines of the kernel or of a module, which takes a while and may need a
    package; it raises HarnessError.
    """

    arch: str
    symbols: SymbolTable
    image: KernelImage
    workload: bytes | None
    lines: Callable[[str | None], LineTable]
    lines_at_hand: bool = False
    """Whether the kernel's file may have them itself: nothing needs to be fetched."""


@dataclass(frozen=True)
class ExternalFailpoints:
    """An arm's failpoints with every place resolved; `places` is by the target's names.

    Those of the plugin are in `plan`, `returns` are the gdb server's.
    """

    plan: plugin.PluginPlan
    orders: tuple[str, ...]
    places: dict[str, ResolvedPlace]
    library: Path
    returns: tuple[ForcedReturn, ...] = ()
    modules: Mapping[str, LoadedModule] = field(default_factory=dict)
    """Where modules were when places in them were found."""

    async def check_modules(self, shell: GuestChannel) -> None:
        """Raises GuestError where a module is loaded elsewhere in this guest."""
        found = await find_modules(self.modules, shell)
        for name, module in self.modules.items():
            for section, expected in module.by_name.items():
                at = found[name].by_name[section]
                if at != expected:
                    raise GuestError(
                        f"the module {name} has its section {section} at {at:#018x} in this guest, "
                        f"and at {expected:#018x} in the one that its places were found in: the "
                        "places would be wrong"
                    )

    def moved(self, modules: Mapping[str, LoadedModule]) -> "ExternalFailpoints":
        """The same for guests that have the modules elsewhere, as `find_modules` says."""
        there = {name: modules[name] for name in self.modules}
        if there == self.modules:
            return self

        def at(name: str, address: int) -> int:
            module = module_of(self.places[name].place)
            if module is None or module not in self.modules:
                return address
            return _moved(address, self.modules[module], there[module])

        places = {
            name: replace(place, addresses=tuple(at(name, each) for each in place.addresses))
            for name, place in self.places.items()
        }
        points = tuple(
            replace(point, addresses=places[point.name].addresses) for point in self.plan.points
        )
        return replace(
            self,
            plan=replace(self.plan, points=points),
            places=places,
            returns=tuple(
                replace(forced, address=at(forced.place, forced.address)) for forced in self.returns
            ),
            modules=there,
        )


async def find_modules(
    modules: Mapping[str, LoadedModule], shell: GuestChannel
) -> dict[str, LoadedModule]:
    """Where the sections of these modules are in this guest. Raises GuestError."""
    found = {}
    for name, module in modules.items():
        sections = f"/sys/module/{name.replace('-', '_')}/sections"
        at: dict[str, int] = {}
        for section in module.by_name:
            text = await shell.check(f"cat {sections}/{section}")
            at[section] = int(text.decode(errors="replace").strip(), 16)
        index = {
            number: _moved(address, module, LoadedModule({}, at))
            for number, address in module.by_index.items()
        }
        found[name] = LoadedModule(index, at)
    return found


def _moved(address: int, module: LoadedModule, there: LoadedModule) -> int:
    """Where the byte at an address of the module is, once its sections are `there`."""
    name, start = max(
        ((name, start) for name, start in module.by_name.items() if start <= address),
        key=lambda section: section[1],
    )
    return there.by_name[name] + address - start


@dataclass(frozen=True)
class FailpointRecord:
    """What one failpoint or order did in a trial; times in seconds."""

    entered: int
    reached: int
    timed_out: int
    cancelled: int
    delayed: int
    held_s: float
    longest_s: float


def resolve_failpoints(
    target: TargetModel, arm: ArmModel, code: KernelCode, cache: Path
) -> ExternalFailpoints:
    """Finds the places that the arm uses and builds the plugin.

    Raises ConfigurationError with the nearest candidates where a place is not in this kernel.
    """
    # rules of one place are carried out in the order in which `use` lists them
    by_name = {rule.name: rule for rule in target.rules}
    used = [by_name[name] for name in arm.use]
    rules = [rule for rule in used if is_plugin_rule(rule)]
    orders = [rule for rule in rules if isinstance(rule, OrderModel)]
    forced = [rule for rule in used if isinstance(rule, FailpointModel) and rule.mechanism == "gdb"]
    held = {_place_of(rule) for rule in rules}
    held |= {order.until.place for order in orders} | (set(target.mark) if rules else set())
    wanted = held | {_place_of(rule) for rule in forced}
    places = {
        place.name: resolve_place(place, code) for place in target.place if place.name in wanted
    }
    return ExternalFailpoints(
        plan=plugin.PluginPlan(
            points=tuple(
                plugin.Point(name, at.addresses) for name, at in places.items() if name in held
            ),
            rules=tuple(_plugin_rule(rule) for rule in rules),
            marks=tuple(target.mark) if rules else (),
        ),
        orders=tuple(order.name for order in orders),
        places=places,
        library=plugin.build_plugin(cache / "plugin"),
        returns=forced_returns(forced, places),
        modules={
            name: module
            for name, module in code.image.modules.items()
            if name in {module_of(place.place) for place in places.values()}
        },
    )


def is_plugin_rule(rule: RuleModel) -> bool:
    """Whether the plugin carries it out: all orders, and failpoints of that mechanism."""
    return isinstance(rule, OrderModel) or (
        isinstance(rule, FailpointModel) and rule.mechanism == "plugin"
    )


def needs_places(rule: RuleModel) -> bool:
    """Whether it is set at a place, which has to be found in the kernel."""
    return isinstance(rule, OrderModel) or (
        isinstance(rule, FailpointModel) and rule.place is not None
    )


def _place_of(rule: FailpointModel | OrderModel) -> str:
    place = rule.place if isinstance(rule, FailpointModel) else rule.hold
    assert place is not None  # FailpointModel sees to it
    return place


def resolve_place(place: PlaceModel, code: KernelCode) -> ResolvedPlace:
    """The first of the place's spellings that this kernel has. Raises ConfigurationError."""
    errors = []
    for text in place.spellings:
        try:
            parsed = parse_place(text)
            of_kernel = isinstance(parsed, LinePlace) and not parsed.in_workload
            lines = code.lines(module_of(parsed)) if of_kernel else None
            return _resolve(parsed, code, lines)
        except ConfigurationError as error:
            errors.append(_with_inlining(text, code) or str(error))
    raise ConfigurationError(f"place {place.name}: " + "; ".join(errors))


def _resolve(place: Place, code: KernelCode, lines: LineTable | None) -> ResolvedPlace:
    return resolve(
        place,
        arch=code.arch,
        symbols=code.symbols,
        image=code.image,
        workload_elf=code.workload,
        dwarf=lines,
    )


def _with_inlining(text: str, code: KernelCode) -> str | None:
    """Why a function's place was not found, as its DWARF tells: where the function was inlined."""
    try:
        place = parse_place(text)
        if not code.lines_at_hand or not isinstance(place, FunctionPlace) or place.in_workload:
            return None
        lines = code.lines(place.module)
    except (ConfigurationError, OSError):  # a message is no reason to fail in another way
        return None
    try:
        _resolve(place, code, lines)
    except ConfigurationError as error:
        return str(error)
    return None


def module_of(place: Place) -> str | None:
    """The module that a place is in; None for the kernel's own, and the workload's."""
    return None if isinstance(place, AddressPlace) else place.module


def modules_of(places: Iterable[PlaceModel]) -> list[str]:
    """The modules that places are in, by any of their spellings. Raises ConfigurationError."""
    spellings = [text for place in places for text in place.spellings]
    found = (module_of(parse_place(text)) for text in spellings)
    return sorted({module for module in found if module is not None})


def _plugin_rule(rule: FailpointModel | OrderModel) -> plugin.DelayRule | plugin.OrderRule:
    return _delay_rule(rule) if isinstance(rule, FailpointModel) else order_rule(rule)


def _delay_rule(failpoint: FailpointModel) -> plugin.DelayRule:
    terms = tuple(_term(term) for term in parse_setting(failpoint.do).reachable_terms)
    off = (plugin.Term(plugin.Action.OFF),)
    return plugin.DelayRule(failpoint.name, _place_of(failpoint), terms or off)


_ACTIONS = {
    Action.OFF: plugin.Action.OFF,
    Action.SLEEP: plugin.Action.DELAY,
    Action.DELAY: plugin.Action.DELAY,
    Action.PAUSE: plugin.Action.PAUSE,
    Action.PRINT: plugin.Action.PRINT,
    Action.YIELD: plugin.Action.YIELD,
}


def _term(term: Term) -> plugin.Term:
    microseconds = round((term.hold_seconds or 0) * 1e6)
    action = _ACTIONS[term.action]
    if action is plugin.Action.DELAY and microseconds == 0:
        action = plugin.Action.OFF  # executed, so it ends the chain, but holds nobody
    return plugin.Term(
        action=action,
        duration_us=microseconds,
        probability_ppm=term.ppm,
        count=term.count,
        vcpus=_one(term.vcpu),
        cascade=term.action is Action.PRINT and bool(term.argument),
    )


def order_rule(order: OrderModel) -> plugin.OrderRule:
    """An order as the plugin takes it."""
    return plugin.OrderRule(
        name=order.name,
        point=order.hold,
        until=order.until.place,
        timeout_us=round(order.timeout_ms * 1000),
        times=order.until.count,
        since=plugin.Since[order.until.since.upper()],
        counting=plugin.Counting[order.until.counting.upper()],
        vcpus=_one(order.vcpu),
        until_vcpus=_one(order.until.vcpu),
        per_attempt=order.per_attempt,
        skip=order.skip,
    )


def _one(vcpu: int | None) -> frozenset[int] | None:
    return None if vcpu is None else frozenset({vcpu})


class ArmedFailpoints:
    """The failpoints of one trial: control block, events and counts, within a `with`.

    With None, an arm without failpoints, every method does nothing and says so.
    """

    def __init__(self, external: ExternalFailpoints | None, folder: Path, seed: int) -> None:
        self._external = external
        self._folder = folder
        self._seed = seed
        self._block: plugin.ControlBlock | None = None
        self._events = 0
        self._statistics: dict[str, RuleStatistics] = {}
        self.events: list[plugin.Event] = []
        """The events drained so far, at most _MAX_EVENTS."""

    def __enter__(self) -> "ArmedFailpoints":
        if self._external is not None and self._external.plan.rules:
            self._block = plugin.ControlBlock.create(
                self._folder / _CONTROL_BLOCK, self._external.plan
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._block is not None:
            self._block.close()

    def qemu_arguments(self) -> tuple[str, ...]:
        """The arguments that make QEMU load the plugin."""
        if self._external is None or self._block is None:
            return ()
        return tuple(self._block.qemu_arguments(self._external.library))

    def arm(self) -> None:
        """Starts counting anew, with the trial's seed, and lets the rules act."""
        if self._block is not None:
            self._block.start(self._seed)
            self._block.arm()

    def disarm(self) -> None:
        """Ends every hold."""
        if self._block is not None:
            self._block.disarm()

    def drain(self) -> None:
        """Takes over the events so far, before the ring overwrites them."""
        if self._block is not None:
            new = self._block.drain()
            self._events += len(new)
            self.events += new[: _MAX_EVENTS - len(self.events)]

    def finish(self) -> None:
        """Writes the events beside the trial's other evidence and keeps the counts."""
        if self._block is None:
            return
        self.drain()
        self._statistics = self._block.statistics().rules
        lines = [json.dumps(event.as_dict()) for event in self.events]
        (self._folder / _EVENTS).write_text("".join(line + "\n" for line in lines))

    def orders_reached(self) -> bool | None:
        """Whether every order was reached at least once; None without orders."""
        if self._external is None or not self._external.orders:
            return None
        return all(
            name in self._statistics and self._statistics[name].reached > 0
            for name in self._external.orders
        )

    def record(self) -> dict[str, FailpointRecord]:
        """What each failpoint and order did."""
        return {
            name: FailpointRecord(
                entered=rule.entered,
                reached=rule.reached,
                timed_out=rule.timed_out,
                cancelled=rule.cancelled,
                delayed=rule.delayed,
                held_s=rule.held_s,
                longest_s=rule.longest_s,
            )
            for name, rule in self._statistics.items()
        }


def places_as_json(external: ExternalFailpoints) -> dict[str, object]:
    """The resolved places for a campaign's record."""
    return {
        name: {
            "place": str(place.place),
            "function": place.function,
            "addresses": [hex(address) for address in place.addresses],
            "offsets": [hex(offset) for offset in place.offsets],
        }
        for name, place in external.places.items()
    }
