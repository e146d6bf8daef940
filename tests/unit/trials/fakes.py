# SPDX-License-Identifier: BSD-2-Clause
"""Records, plans and arms that no guest was needed for."""

from pathlib import Path
from typing import Any

from harness.kernels.kernel import Kernel
from harness.plan.symptom import SymptomModel
from harness.qemu.command import Boot, Machine
from harness.qemu.guest import GuestPlan
from harness.stats.sequential import Decision, StopRule
from harness.systems.base import GuestImage
from harness.trials.arm import PreparedArm
from harness.trials.trial import TrialRecord

ARMS = ("buggy", "fixed", "control")


def record(
    arm: str = "buggy", number: int = 1, block: int = 0, verdict: str = "survived", **more: Any
) -> TrialRecord:
    """A trial's record; a reproduced one has its symptom."""
    symptom = {"name": "lost update", "cpu_seconds": 0.5}
    fields: dict[str, Any] = {
        "arm": arm, "number": number, "block": block, "seed": 7, "verdict": verdict,
        "reason": f"because of {verdict}",
        "symptoms": [symptom] if verdict == "reproduced" else [],
        "guest_seconds": 0.25, "wall_seconds": 1.0, "cpu_seconds": 0.5, "attempts": 0,
        "attempts_reproduced": 0, "attempts_failed": 0, "orders_reached": None, "failpoints": {},
        "reports": [], "ready_seconds": 1.0, "ready_cpu_seconds": 1.0, "start": "boot",
        "workload_fields": {}, "console_bytes": 10, "console_dropped_bytes": 0, "notes": [],
        "finished": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    return TrialRecord(**(fields | more))


def plan(arms: tuple[str, ...] = ARMS, **more: Any) -> dict[str, Any]:
    """A campaign's plan."""
    expect = {"buggy": "reproduced"}
    return {
        "target": "race",
        "guest": "linux-x86_64",
        "created": "2026-01-01T00:00:00Z",
        "confidence": 0.95,
        "accelerator": "tcg",
        "failpoints": {"hold": {"name": "hold"}},
        "arms": {
            name: {"kernel": f"kernel {name}", "expect": expect.get(name, "silent")}
            for name in arms
        },
    } | more


def arm(name: str, *, symptoms: tuple[SymptomModel, ...] = ()) -> PreparedArm:
    """A prepared arm whose kernel nobody boots."""
    nowhere = Path("/nonexistent")
    machine = Machine("qemu", "pc", "qemu64", 2, 256, "tcg", console=(), control=())
    return PreparedArm(
        name=name,
        system="linux",
        expect="reproduced" if name == "buggy" else "silent",
        kernel=Kernel(f"kernel {name}", "1.0", "0" * 64, nowhere, None),
        plan=GuestPlan(machine, Boot(nowhere, nowhere), 5.0),
        image=GuestImage(Boot(nowhere, nowhere), (), "/workload"),
        workload_args={},
        failpoints=None,
        symptoms=symptoms,
        heartbeat_seconds=30.0,
        trial_seconds=60.0,
    )


class Told:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.started: list[tuple[str, int]] = []
        self.ended: list[tuple[TrialRecord, Decision]] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def campaign(self, name: str, rule: StopRule, arms: list[str]) -> None:
        self.said.append(name)

    def trial_starts(self, arm: str, number: int) -> None:
        self.started.append((arm, number))

    def trial_ends(self, record: TrialRecord, decision: Decision) -> None:
        self.ended.append((record, decision))
