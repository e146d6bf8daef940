# SPDX-License-Identifier: BSD-2-Clause
"""What a crash report is, once read: kinds, frames and the report itself."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What sort of trouble a report tells of; docs/crashes.md explains each."""

    PANIC = "panic"
    BUG = "bug"
    OOPS = "oops"
    ASSERTION = "assertion"
    KASAN = "kasan"
    KCSAN = "kcsan"
    KMSAN = "kmsan"
    KFENCE = "kfence"
    UBSAN = "ubsan"
    WARNING = "warning"
    REFCOUNT = "refcount"
    LOCKDEP = "lockdep"
    ATOMIC_SLEEP = "atomic-sleep"
    RCU_STALL = "rcu-stall"
    HUNG_TASK = "hung-task"
    SOFT_LOCKUP = "soft-lockup"
    HARD_LOCKUP = "hard-lockup"
    WORKQUEUE_LOCKUP = "workqueue-lockup"
    OOM = "oom"
    MEMORY_LEAK = "memory-leak"
    MEMORY_CORRUPTION = "memory-corruption"
    STACK_OVERFLOW = "stack-overflow"
    DOUBLE_FAULT = "double-fault"
    TRAP = "trap"
    DDB = "ddb"
    DATA_CORRUPTION = "data-corruption"
    SILENT_HANG = "silent-hang"
    REBOOT = "reboot"
    WORKLOAD = "workload"


class Frame(NamedTuple):
    """One frame of a stack as the kernel printed it.

    `offset` is in bytes from the function's start, or None where the kernel did not print it.
    `reliable` is False for the frames that Linux marks with `?`; `inlined` is True for the lines
    that a symbolizer added; `pointer` is True for the instruction pointer among the registers.
    """

    function: str
    offset: int | None = None
    file: str | None = None
    line: int | None = None
    module: str | None = None
    reliable: bool = True
    inlined: bool = False
    pointer: bool = False

    @property
    def certain(self) -> bool:
        """The kernel printed it as a frame of its own, without doubts."""
        return self.reliable and not self.inlined


@dataclass(frozen=True)
class Report:
    """One crash report found in a console.

    `start` and `end` are byte offsets in the console, `end` exclusive. `function` is the guilty
    function, None where the title has none. `complete` is False when the console ended before the
    report did; `corrupted` when lines are lost, torn or interleaved so that the title may be wrong
    (`corrupted_reason` says how). `fatal` is True when the kernel cannot go on.
    `rule` names the rule that found it, `text` is what it read: the report's own lines, without
    timestamps and without the lines of others.
    """

    system: str
    kind: Kind
    title: str
    alt_titles: tuple[str, ...]
    function: str | None
    frames: tuple[Frame, ...]
    start: int
    end: int
    corrupted: bool
    corrupted_reason: str | None
    complete: bool
    fatal: bool
    rule: str = ""
    text: str = ""

    @property
    def is_hint(self) -> bool:
        """Whether it tells of what may be wrong, and has done no harm: KCSAN's data races, of which
        every kernel has many. What its assertions exclude (ASSERT_EXCLUSIVE_*) is more."""
        return self.kind is Kind.KCSAN and "assert" not in self.title
