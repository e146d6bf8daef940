# SPDX-License-Identifier: BSD-2-Clause
"""An arm that is ready to run: kernel, image, failpoints and symptoms, all resolved."""

from dataclasses import dataclass
from pathlib import Path

from harness.failpoints.inside import GuestFailpoint
from harness.kernels.kernel import Kernel
from harness.plan.models import AdjustModel, PlainModel, SymptomModel
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

    @property
    def has_holds(self) -> bool:
        """Whether a vCPU, or a thread of the guest, may be held."""
        return self.failpoints is not None or bool(self.guest_failpoints)
