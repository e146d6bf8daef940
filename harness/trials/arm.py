# SPDX-License-Identifier: BSD-2-Clause
"""An arm that is ready to run: kernel, image, failpoints and symptoms, all resolved."""

from dataclasses import dataclass
from pathlib import Path

from harness.failpoints.inside import GuestFailpoint
from harness.kernels.kernel import Kernel
from harness.plan.needs import PlainModel
from harness.plan.rules import AdjustModel
from harness.plan.symptom import SymptomModel
from harness.plan.target import DebuggerModel
from harness.qemu import plugin
from harness.qemu.guest import GuestPlan
from harness.qemu.snapshot import Snapshot
from harness.systems.base import GuestImage
from harness.trials.external import ExternalFailpoints


@dataclass(frozen=True)
class PreparedArm:
    """Everything that a trial of the arm needs; times are in seconds of wall clock."""

    name: str
    system: str
    expect: str
    kernel: Kernel
    plan: GuestPlan
    image: GuestImage
    workload_args: dict[str, int | str]
    failpoints: ExternalFailpoints | None
    symptoms: tuple[SymptomModel, ...]
    heartbeat_seconds: float
    trial_seconds: float
    snapshot: Snapshot | None = None
    arch: str = "x86_64"
    symbols_file: Path | None = None
    """Where the kernel's symbols are, if they were ever read."""
    guest_failpoints: tuple[GuestFailpoint, ...] = ()
    """Failpoints that the guest's own kernel carries out."""
    plain: PlainModel | None = None
    """How the workload is run that does not speak the harness's protocol."""
    boot_only: bool = False
    """Whether a trial is a boot into an initramfs of the user's own: there is no channel."""
    adjust: tuple[AdjustModel, ...] = ()
    """What is changed in the memory of each guest that was booted."""
    dump_memory: bool = False
    """Whether a guest that crashed or hung leaves its memory in the trial's evidence."""
    debugger: DebuggerModel | None = None
    """What the kernel's own debugger is asked about a crash or a hang."""

    @property
    def has_holds(self) -> bool:
        """Whether a vCPU, or a guest's thread, may be held: by an order, sleep, delay or pause.

        A call that is made to fail, by the gdb server or by fault injection, holds nobody.
        """
        rules = self.failpoints.plan.rules if self.failpoints is not None else ()
        return any(_may_hold(rule) for rule in rules) or any(
            term.may_hold
            for failpoint in self.guest_failpoints
            for term in failpoint.setting.reachable_terms
        )


def _may_hold(rule: plugin.DelayRule | plugin.OrderRule) -> bool:
    waits = {plugin.Action.DELAY, plugin.Action.PAUSE}
    return isinstance(rule, plugin.OrderRule) or any(term.action in waits for term in rule.terms)
