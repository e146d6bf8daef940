# SPDX-License-Identifier: BSD-2-Clause
"""What is kept of a hung guest: its kind, and each vCPU's samples, registers and stack."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class HangKind(StrEnum):
    """What sort of hang it is; docs/hangs.md explains each."""

    WORKLOAD_STALLED = "workload-stalled"
    """The guest's init answers, the workload makes no progress."""
    ALL_VCPUS_IDLE = "all-vcpus-idle"
    """Init does not answer, and every vCPU waits for an interrupt."""
    VCPU_SPINNING = "vcpu-spinning"
    """A vCPU uses its CPU time in the same few functions."""
    CONSOLE_FLOOD = "console-flood"
    """The guest is busy printing."""
    GUEST_STOPPED = "guest-stopped"
    """QEMU does not run the guest: it shut down, panicked or QEMU had an I/O error."""
    UNKNOWN = "unknown"
    """None of these: init does not answer, and what the vCPUs do does not settle it."""


@dataclass(frozen=True)
class StackFrame:
    """One frame of a kernel stack, as Linux prints it.

    `function` is None where no symbol is known. `reliable` is False for a return address that
    was only found lying on the stack. `inlined` frames come from DWARF and have no address of
    their own.
    """

    address: int
    function: str | None = None
    offset: int = 0
    module: str | None = None
    reliable: bool = True
    inlined: bool = False
    file: str | None = None
    line: int | None = None


@dataclass(frozen=True)
class Awaited:
    """What a thread waits for: `kind` is the system's word for it (`lock`, `page`, `event`).

    `name` is empty where nothing is known to be at the address; `state` is of the moment of the
    look: a lock's holders, a page's bits.
    """

    kind: str
    address: int
    name: str = ""
    state: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class GuestThread:
    """One thread of the guest's, as its kernel's own tables have it.

    `stack` is innermost first. `vcpu` is where it runs; None if it does not.
    """

    name: str
    state: str
    stack: tuple[StackFrame, ...] = ()
    awaits: Awaited | None = None
    vcpu: int | None = None


@dataclass(frozen=True)
class Sample:
    """Where a vCPU was at one moment. `function` is None in user mode or without symbols."""

    pc: int
    halted: bool
    in_kernel: bool
    function: str | None


@dataclass(frozen=True)
class Vcpu:
    """One vCPU over the time of the inspection.

    `busy` is the share of the watched time in which its thread ran or wanted to run, from 0 to 1;
    None where the host does not tell. `samples` and `stack` are empty if the gdb server failed.
    """

    index: int
    busy: float | None
    samples: tuple[Sample, ...] = ()
    registers: dict[str, int] | None = None
    stack: tuple[StackFrame, ...] = ()

    @property
    def halted_share(self) -> float:
        """The share of samples in which it waited for an interrupt."""
        return _share(sum(s.halted for s in self.samples), len(self.samples))

    @property
    def kernel_share(self) -> float:
        """The share of samples in kernel mode among those in which it did not wait."""
        running = [s for s in self.samples if not s.halted]
        return _share(sum(s.in_kernel for s in running), len(running))

    def top_places(self, many: int = 3) -> list[tuple[str, float]]:
        """Where it was found most often, with the share of the samples in which it ran."""
        running = [place_of(s) for s in self.samples if not s.halted]
        return [(place, n / len(running)) for place, n in Counter(running).most_common(many)]


def place_of(sample: Sample) -> str:
    """A sample's function, `user mode`, or its address."""
    if not sample.in_kernel:
        return "user mode"
    return sample.function or f"{sample.pc:#x}"


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


@dataclass(frozen=True)
class Hang:
    """What a hung guest was seen to do. Seconds are of the host's wall clock."""

    kind: HangKind
    reason: str
    run_state: str
    """QEMU's word for it: `running`, `paused`, `shutdown`, `guest-panicked`, …"""
    answers: bool
    """Whether the guest's init answered on the control channel."""
    answer_seconds: float
    """How long it took, or how long it was waited for."""
    watched_seconds: float
    """For how long the guest ran undisturbed under watch."""
    console_rate: float
    """Bytes a second on the console meanwhile."""
    vcpus: tuple[Vcpu, ...]
    tasks: str = ""
    """What the guest itself says of its tasks, if it answers."""
    threads: tuple[GuestThread, ...] = ()
    """The guest's threads: read out of its memory, or of what it says of its tasks."""
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """For hang.json: plain data, addresses in hexadecimal."""
        data = asdict(self)
        for thread in data["threads"]:
            for frame in thread["stack"]:
                frame["address"] = hex(frame["address"])
            if thread["awaits"] is not None:
                thread["awaits"]["address"] = hex(thread["awaits"]["address"])
        for vcpu in data["vcpus"]:
            for sample in vcpu["samples"]:
                sample["pc"] = hex(sample["pc"])
            for frame in vcpu["stack"]:
                frame["address"] = hex(frame["address"])
            if vcpu["registers"] is not None:
                vcpu["registers"] = {name: hex(value) for name, value in vcpu["registers"].items()}
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Hang":
        """What `as_json` wrote. Raises KeyError, TypeError, ValueError where it did not."""
        fields = dict(data)
        fields["kind"] = HangKind(fields["kind"])
        fields["vcpus"] = tuple(_vcpu(vcpu) for vcpu in fields["vcpus"])
        fields["threads"] = tuple(_thread(thread) for thread in fields["threads"])
        fields["notes"] = tuple(fields["notes"])
        return cls(**fields)


def _vcpu(data: Mapping[str, Any]) -> Vcpu:
    registers = data["registers"]
    return Vcpu(
        index=data["index"],
        busy=data["busy"],
        samples=tuple(Sample(**(s | {"pc": int(s["pc"], 16)})) for s in data["samples"]),
        registers=registers and {name: int(value, 16) for name, value in registers.items()},
        stack=_stack(data["stack"]),
    )


def _thread(data: Mapping[str, Any]) -> GuestThread:
    awaits = data["awaits"]
    fields = dict(data) | {"stack": _stack(data["stack"])}
    if awaits is not None:
        fields["awaits"] = Awaited(**(awaits | {"address": int(awaits["address"], 16)}))
    return GuestThread(**fields)


def _stack(data: Sequence[Mapping[str, Any]]) -> tuple[StackFrame, ...]:
    return tuple(StackFrame(**(dict(frame) | {"address": int(frame["address"], 16)}))
                 for frame in data)  # fmt: skip
