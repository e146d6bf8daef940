# SPDX-License-Identifier: BSD-2-Clause
"""Match a hang against the symptom that a target names, and say why or why not."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.crashes.signature import MatchResult
from harness.errors import ConfigurationError
from harness.hangs.classify import SPIN_PLACES, is_spinning
from harness.hangs.evidence import GuestThread, Hang, HangKind, StackFrame

_SHOWN = 8


@dataclass(frozen=True)
class WaitSignature:
    """One thread as a symptom has it; what is left out matches anything.

    `frames` are functions that must all be in its stack, `on` is the kind of what it waits for
    (`lock`, `page`, …), `name` a regular expression for the name of that, `state` the numbers that
    must be among those of its state.
    """

    frames: tuple[str, ...] = ()
    on: str | None = None
    name: str | None = None
    state: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "frames", tuple(self.frames))
        if not (self.frames or self.on or self.name or self.state):
            raise ConfigurationError(
                "a wait of a hang's signature needs frames, on, name or state: "
                "this one would match every thread"
            )
        if self.name is not None:
            try:
                re.compile(self.name)
            except re.error as error:
                raise ConfigurationError(
                    f"the name {self.name!r} of a wait is no regular expression: {error}"
                ) from error

    def matches(self, thread: GuestThread) -> bool:
        """Whether a thread is this one."""
        functions = {frame.function for frame in thread.stack}
        if not functions.issuperset(self.frames):
            return False
        awaits = thread.awaits
        if awaits is None:
            return not (self.on or self.name or self.state)
        return (
            (self.on is None or awaits.kind == self.on)
            and (self.name is None or re.search(self.name, awaits.name) is not None)
            and all(awaits.state.get(key) == value for key, value in self.state.items())
        )

    def as_text(self) -> str:
        """In words."""
        told = f"in {', '.join(self.frames)}" if self.frames else "anywhere"
        if self.on or self.name:
            told += f" waiting for {' '.join(word for word in (self.on, self.name) if word)}"
        if self.state:
            told += f" with {', '.join(f'{key} {value}' for key, value in self.state.items())}"
        return told


@dataclass(frozen=True)
class HangSignature:
    """A symptom as a hung guest shows it; what is left out matches anything.

    `kind` is a hang's kind (harness.hangs.evidence.HangKind), `waits` are threads that must all be
    there, each another one, `spins` functions of which one must be where a vCPU spins, or in the
    stack there. Raises ConfigurationError for an unknown kind and a signature that asks for
    nothing.
    """

    kind: str | None = None
    waits: tuple[WaitSignature, ...] = ()
    spins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "waits", tuple(self.waits))
        object.__setattr__(self, "spins", tuple(self.spins))
        kinds = [kind.value for kind in HangKind]
        if self.kind is not None and self.kind not in kinds:
            raise ConfigurationError(
                f"unknown kind of hang {self.kind!r}: expected one of {', '.join(kinds)}"
            )
        if not (self.kind or self.waits or self.spins):
            raise ConfigurationError(
                "a hang's signature needs a kind, waits or spins: this one would match every hang"
            )

    def match(self, hang: Hang) -> MatchResult:
        """Say whether `hang` is this symptom; every demand that is not met is named."""
        met: list[str] = []
        missed: list[str] = []
        if self.kind is not None:
            is_kind = hang.kind == self.kind
            (met if is_kind else missed).append(
                f"kind is {self.kind}" if is_kind else f"kind is {hang.kind}, not {self.kind}"
            )
        if self.spins:
            spinning = _spinning(hang)
            there = [function for function in self.spins if function in spinning]
            if there:
                met.append(f"a vCPU is busy in {', '.join(there)}")
            else:
                missed.append(f"no busy vCPU is in {' or '.join(self.spins)}")
        if self.waits:
            chosen = _distinct([self._candidates(wait, hang) for wait in self.waits])
            if chosen is None:
                missed += self._why_not(hang)
            else:
                met += [
                    f"{hang.threads[index].name} is {wait.as_text()}"
                    for wait, index in zip(self.waits, chosen, strict=True)
                ]
        return MatchResult(not missed, "; ".join(missed or met))

    def _candidates(self, wait: WaitSignature, hang: Hang) -> list[int]:
        return [index for index, thread in enumerate(hang.threads) if wait.matches(thread)]

    def _why_not(self, hang: Hang) -> list[str]:
        if not hang.threads:
            return ["nothing is known of the guest's threads"]
        absent = [wait for wait in self.waits if not self._candidates(wait, hang)]
        if not absent:
            return ["the same thread would have to be several of the signature's"]
        return [f"no thread of {len(hang.threads)} is {wait.as_text()}" for wait in absent]


def _distinct(candidates: Sequence[Sequence[int]]) -> list[int] | None:
    """One of each, all different; None if there is no such choice."""
    if not candidates:
        return []
    for choice in candidates[0]:
        rest = _distinct([[c for c in others if c != choice] for others in candidates[1:]])
        if rest is not None:
            return [choice, *rest]
    return None


def _spinning(hang: Hang) -> set[str]:
    """Functions that vCPUs spin in: where they were seen again and again, and who called that."""
    found: set[str] = set()
    for vcpu in hang.vcpus:
        if is_spinning(vcpu):
            found |= {place for place, _ in vcpu.top_places(SPIN_PLACES)}
            found |= _functions(vcpu.stack)
            for thread in hang.threads:
                if thread.vcpu == vcpu.index:
                    found |= _functions(thread.stack)
    return found


def _functions(stack: Sequence[StackFrame]) -> set[str]:
    return {frame.function for frame in stack if frame.function and frame.reliable}
