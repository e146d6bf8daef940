# SPDX-License-Identifier: BSD-2-Clause
"""From what was seen of a hung guest to its kind: a pure function."""

from harness.hangs.evidence import HangKind, Vcpu

FLOOD_BYTES_PER_SECOND = 4096.0
"""A third of what a real serial console at 115,200 baud carries; a quiet guest prints nothing."""
BUSY_SHARE = 0.25
"""An idle vCPU's thread runs for less than 3 % of the time, a spinning one wants all of it."""
QUIET_SHARE = 0.1
IDLE_SHARE = 0.5
SPIN_SHARE = 0.7
"""The rest of the samples may be in interrupts."""
SPIN_PLACES = 3
_OFTEN = 0.1
"""Places of fewer samples are chance, and not named."""


def classify(
    run_state: str, answers: bool, console_rate: float, vcpus: tuple[Vcpu, ...]
) -> tuple[HangKind, str]:
    """The kind and the reason in words, by the first rule that applies.

    A flood comes first, since it makes everything else late. A kernel that spins is told even if
    init, on another vCPU, still answers; a program that spins while init answers is the
    workload's own stall.
    """
    if run_state != "running":
        return HangKind.GUEST_STOPPED, f"QEMU does not run the guest: it is {run_state!r}"
    if console_rate >= FLOOD_BYTES_PER_SECOND:
        return HangKind.CONSOLE_FLOOD, f"the guest prints {console_rate:,.0f} bytes a second"
    spinning = [vcpu for vcpu in vcpus if is_spinning(vcpu)]
    in_kernel = [vcpu for vcpu in spinning if vcpu.kernel_share >= SPIN_SHARE]
    if in_kernel or (spinning and not answers):
        return HangKind.VCPU_SPINNING, _spins(in_kernel or spinning, answers)
    if answers:
        return HangKind.WORKLOAD_STALLED, f"the guest's init answers; {_what_vcpus_do(vcpus)}"
    if vcpus and all(is_idle(vcpu) for vcpu in vcpus):
        return (
            HangKind.ALL_VCPUS_IDLE,
            "init does not answer, and every vCPU waits for an interrupt",
        )
    return HangKind.UNKNOWN, f"init does not answer; {_what_vcpus_do(vcpus)}"


def is_busy(vcpu: Vcpu) -> bool:
    """Whether a vCPU uses CPU time, or wants to on a loaded host."""
    if vcpu.busy is None:
        return bool(vcpu.samples) and vcpu.halted_share < IDLE_SHARE
    return vcpu.busy >= BUSY_SHARE and not (vcpu.samples and vcpu.halted_share > IDLE_SHARE)


def is_idle(vcpu: Vcpu) -> bool:
    """Whether a vCPU mostly waits for an interrupt.

    Under KVM QEMU does not know that a vCPU waits: the CPU time alone tells.
    """
    if vcpu.samples and vcpu.halted_share >= IDLE_SHARE:
        return True
    return vcpu.busy is not None and vcpu.busy < QUIET_SHARE


def is_spinning(vcpu: Vcpu) -> bool:
    """Whether a busy vCPU is nearly always in the same few functions."""
    places = vcpu.top_places(SPIN_PLACES)
    return is_busy(vcpu) and sum(share for _, share in places) >= SPIN_SHARE


def _spins(vcpus: list[Vcpu], answers: bool) -> str:
    told = "; ".join(f"vCPU {v.index} spins in {_places(v)}" for v in vcpus)
    return told + ("; init answers all the same" if answers else "; init does not answer")


def _places(vcpu: Vcpu) -> str:
    told = [f"{place} ({share:.0%})" for place, share in vcpu.top_places(SPIN_PLACES)]
    often = sum(share >= _OFTEN for _, share in vcpu.top_places(SPIN_PLACES))
    return ", ".join(told[: max(1, often)])


def _what_vcpus_do(vcpus: tuple[Vcpu, ...]) -> str:
    if not vcpus:
        return "what the vCPUs do is not known"
    return "; ".join(f"vCPU {vcpu.index} {_what_it_does(vcpu)}" for vcpu in vcpus)


def _what_it_does(vcpu: Vcpu) -> str:
    if is_idle(vcpu):
        return "is idle"
    where = f" in {_places(vcpu)}" if vcpu.samples else ""
    return ("is busy" if is_busy(vcpu) else "runs now and then") + where
