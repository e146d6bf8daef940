# SPDX-License-Identifier: BSD-2-Clause
"""What each failpoint mechanism can carry out, and the refusal of what it cannot."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from harness.errors import ConfigurationError
from harness.failpoints.grammar import PPM_ALWAYS, Action, Setting, Term

_PPM_OF_A_PERCENT = PPM_ALWAYS // 100


class Modifier(StrEnum):
    """What a term can have besides its action; the value is its name in messages."""

    PERCENTAGE = "percentage"
    FRACTION = "fraction of a percent"
    COUNT = "count"
    PID = "pid filter"
    VCPU = "vcpu filter"
    CHAIN = "chain of terms"


@dataclass(frozen=True)
class Mechanism:
    """One way to carry out settings: what it can do, and why it cannot do the rest.

    `why_not` gives for an action or modifier the reason and what to do instead.
    `max_terms` and `max_bytes` bound a setting's canonical text; None is without bound.
    """

    name: str
    actions: frozenset[Action]
    modifiers: frozenset[Modifier]
    why_not: Mapping[Action | Modifier, str]
    max_terms: int | None = None
    max_bytes: int | None = None
    systems: frozenset[str] | None = None
    """Operating systems that have it; None: every guest."""
    at: str = "point"
    """What a failpoint is set at: a `point` that the kernel has under its name, or a `place`."""


_NO_VCPU_INSIDE = "it chooses by process, not by virtual CPU; use [pid N]"

SYSCTL = Mechanism(
    name="FreeBSD sysctl",
    actions=frozenset(Action),
    modifiers=frozenset(Modifier) - {Modifier.VCPU},
    why_not=MappingProxyType({Modifier.VCPU: _NO_VCPU_INSIDE}),
    max_terms=20,  # kern_fail.c: FP_MAX_ENTRY_COUNT
    # kern_fail.c: MAX_FAIL_POINT_BUF is 1023, and sysctl(8) sends the text's end, too. With a byte
    # more fail_point_sysctl() returns with a lock held: 13.2 with INVARIANTS panics
    max_bytes=1022,
    systems=frozenset({"freebsd"}),
)

# Documentation/fault-injection/fault-injection.rst: `probability` is a whole percentage, `times`
# the count, `task-filter` with /proc/PID/make-it-fail the process.
DEBUGFS = Mechanism(
    name="Linux fault injection (debugfs)",
    actions=frozenset({Action.OFF, Action.RETURN}),
    modifiers=frozenset({Modifier.PERCENTAGE, Modifier.COUNT}),
    why_not=MappingProxyType(
        {
            **{
                action: "it can only make a function fail; use the hook or the TCG plugin"
                for action in Action
                if action not in (Action.OFF, Action.RETURN)
            },
            Modifier.FRACTION: "its probability is a whole number of percent; use 1% or more, "
            "or the hook",
            Modifier.VCPU: _NO_VCPU_INSIDE,
            Modifier.CHAIN: "it has one probability and one count; use one term, or the hook",
            Modifier.PID: "it chooses marked tasks, not process ids; use `only_workload`",
        }
    ),
    systems=frozenset({"linux"}),
)

HOOK = Mechanism(
    name="kernel hook",
    actions=frozenset(Action),
    modifiers=frozenset(Modifier) - {Modifier.VCPU},
    why_not=MappingProxyType({Modifier.VCPU: _NO_VCPU_INSIDE}),
    max_terms=20,  # the hook keeps FreeBSD's bounds, so one text serves both
    max_bytes=1023,
    systems=frozenset({"linux"}),
)

TCG_PLUGIN = Mechanism(
    name="TCG plugin",
    actions=frozenset(Action) - {Action.RETURN, Action.PANIC, Action.BREAK},
    modifiers=frozenset(Modifier) - {Modifier.PID},
    why_not=MappingProxyType(
        {
            Action.RETURN: "it can hold a virtual CPU but not change its registers; use the gdb "
            "mechanism or the hook",
            Action.PANIC: "it cannot call into the guest's kernel; use the hook",
            Action.BREAK: "it cannot enter a debugger; use the gdb mechanism",
            Modifier.PID: "it cannot see the current process; use [vcpu N] and pin the thread",
        }
    ),
    max_terms=16,  # the plugin's control block, CB_MAX_TERMS
    at="place",
)

GDB = Mechanism(
    name="gdb server",
    actions=frozenset({Action.OFF, Action.RETURN, Action.PRINT}),
    modifiers=frozenset(Modifier) - {Modifier.PID},
    why_not=MappingProxyType(
        {
            **dict.fromkeys(
                (Action.SLEEP, Action.DELAY, Action.PAUSE, Action.YIELD),
                "it stops all virtual CPUs at once; use the plugin, which holds one",
            ),
            Action.BREAK: "nobody is at its debugger; use print, or the hook",
            Action.PANIC: "it cannot call into the guest's kernel; use the hook",
            Modifier.PID: "it sees virtual CPUs, not processes; use [vcpu N] and pin the thread",
        }
    ),
    at="place",
)

MECHANISMS: Mapping[str, Mechanism] = MappingProxyType(
    {
        "sysctl": SYSCTL,
        "debugfs": DEBUGFS,
        "hook": HOOK,
        "plugin": TCG_PLUGIN,
        "gdb": GDB,
    }
)
"""The mechanisms by the names that target files use."""


def refuse_unsupported(setting: Setting, mechanism: str | Mechanism, where: str) -> None:
    """Refuse a setting that a mechanism cannot carry out, before any guest is started.

    `where` names the failpoint for the message (file and key).
    Raises ConfigurationError that names the action or modifier, the mechanism, the reason, and
    what to use instead; also for a mechanism that does not exist.
    """
    if isinstance(mechanism, str):
        mechanism = mechanism_named(mechanism, where)
    needed: set[Action | Modifier] = set()
    for term in setting.terms:
        needed |= {term.action} | _modifiers_of(term)
    if len(setting.reachable_terms) > 1:
        needed.add(Modifier.CHAIN)
    supported: frozenset[Action | Modifier] = mechanism.actions | mechanism.modifiers
    refused = [
        f"{feature.value}: the {mechanism.name} does not support it: {mechanism.why_not[feature]}"
        for feature in (*Action, *Modifier)
        if feature in needed - supported
    ]
    if mechanism.max_terms is not None and len(setting.terms) > mechanism.max_terms:
        refused.append(
            f"{len(setting.terms)} terms: the {mechanism.name} takes at most {mechanism.max_terms}"
        )
    size = len(str(setting).encode())
    if mechanism.max_bytes is not None and size > mechanism.max_bytes:
        refused.append(f"{size} bytes: the {mechanism.name} takes at most {mechanism.max_bytes}")
    if refused:
        raise ConfigurationError(f"{where}: `{setting}`: " + "; ".join(refused))


def mechanism_named(name: str, where: str) -> Mechanism:
    """The mechanism of that name; raises ConfigurationError naming `where` and all the names."""
    try:
        return MECHANISMS[name]
    except KeyError:
        names = ", ".join(MECHANISMS)
        raise ConfigurationError(
            f"{where}: no failpoint mechanism {name!r}; expected one of {names}"
        ) from None


def _modifiers_of(term: Term) -> set[Action | Modifier]:
    modifiers: set[Action | Modifier] = set()
    if term.ppm != PPM_ALWAYS:
        modifiers.add(Modifier.PERCENTAGE)
    if term.ppm % _PPM_OF_A_PERCENT:
        modifiers.add(Modifier.FRACTION)
    if term.count is not None:
        modifiers.add(Modifier.COUNT)
    if term.pid is not None:
        modifiers.add(Modifier.PID)
    if term.vcpu is not None:
        modifiers.add(Modifier.VCPU)
    return modifiers
