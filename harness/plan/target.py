# SPDX-License-Identifier: BSD-2-Clause
"""The model behind failpoints/*/target.toml, and what is run like one."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from harness.failpoints.mechanisms import MECHANISMS
from harness.plan.kernel import KernelRecipe
from harness.plan.model import Model, Name, SystemName
from harness.plan.needs import (
    RunWorkloadModel,
    TargetMachineModel,
    TargetUserlandModel,
    WorkloadModel,
)
from harness.plan.rules import AdjustModel, FailpointModel, OrderModel, PlaceModel
from harness.plan.symptom import SymptomModel


class ArmModel(Model):
    """[[arm]]: one way to run the target."""

    name: Name
    kernel: Name
    expect: Literal["reproduced", "silent", "either"]
    guests: list[Name] = []
    """Guests that have this arm (empty: all of the target's): of one name each has at most one."""
    use: list[Name] = []
    args: dict[str, int | str] = {}
    default: bool = False
    about: str = ""


class BudgetModel(Model):
    """[budget]: how much is tried before the campaign gives up."""

    trials: PositiveInt = 20
    minimum_trials: PositiveInt = 1
    trial_seconds: PositiveFloat = 60.0
    confidence: float = Field(default=0.95, gt=0.5, lt=1.0)
    voids: PositiveInt = 5


class DebuggerModel(Model):
    """[debugger]: what the kernel's own debugger is asked after a crash or a hang."""

    commands: list[Annotated[str, Field(pattern="^[!-~]([ -~]*[!-~])?$")]] = Field(min_length=1)
    """Each is typed at its prompt as it stands."""
    seconds: PositiveFloat = 30.0
    """For its prompt to come, and for each command."""


class TargetModel(Model):
    """A target: one race."""

    required_arms: ClassVar[tuple[str, ...]] = ("buggy", "fixed")

    title: str
    system: SystemName
    guests: list[Name] = Field(min_length=1)
    references: list[str] = []
    kernels: dict[Name, dict[Name, KernelRecipe]]
    machine: dict[Name, TargetMachineModel] = {}
    userland: TargetUserlandModel = TargetUserlandModel()
    workload: WorkloadModel
    place: list[PlaceModel] = []
    mark: list[Name] = []
    failpoint: list[FailpointModel] = []
    order: list[OrderModel] = []
    adjust: list[AdjustModel] = []
    arm: list[ArmModel]
    symptom: list[SymptomModel] = Field(min_length=1)
    debugger: DebuggerModel | None = None
    budget: BudgetModel = BudgetModel()

    @property
    def own_initrd(self) -> str | None:
        """An initramfs in place of the harness's, by its absolute path: a test of the boot."""
        return None

    @property
    def rules(self) -> list[FailpointModel | OrderModel]:
        """All that an arm can switch on."""
        return [*self.failpoint, *self.order]

    def arms_on(self, guest: str) -> list[ArmModel]:
        """The arms that a guest has."""
        return [arm for arm in self.arm if not arm.guests or guest in arm.guests]

    @model_validator(mode="after")
    def _references_resolve(self) -> "TargetModel":
        places = _unique("place", [place.name for place in self.place])
        switches = _unique("failpoint and order", [rule.name for rule in self.rules])
        _unique("userland.image", [image.name for image in self.userland.image])
        _unique("symptom", [symptom.name for symptom in self.symptom])
        for failpoint in self.failpoint:
            if failpoint.place is not None:
                _known("place", failpoint.place, places, f"failpoint {failpoint.name}")
            systems = MECHANISMS[failpoint.mechanism].systems
            if systems is not None and self.system not in systems:
                raise ValueError(
                    f"failpoint {failpoint.name}: the mechanism {failpoint.mechanism!r} is "
                    f"{' and '.join(sorted(systems))}'s, and the target's system is {self.system}"
                )
        for order in self.order:
            _known("place", order.hold, places, f"order {order.name}: hold")
            _known("place", order.until.place, places, f"order {order.name}: until")
        for mark in self.mark:
            _known("place", mark, places, "mark")
        for arm in self.arm:
            _known("kernel", arm.kernel, set(self.kernels), f"arm {arm.name}")
            for switch in arm.use:
                _known("failpoint or order", switch, switches, f"arm {arm.name}: use")
            for guest in arm.guests:
                _known("guest", guest, set(self.guests), f"arm {arm.name}: guests")
        for guest in self.guests:
            arms = _unique(f"arm (on {guest})", [arm.name for arm in self.arms_on(guest)])
            for needed in self.required_arms:
                _known("arm", needed, arms, f"a target (on {guest})")
        for guest in self.machine:
            _known("guest", guest, set(self.guests), "machine")
        for name, per_guest in self.kernels.items():
            for guest in self.guests:
                if any(arm.kernel == name for arm in self.arms_on(guest)):
                    _known("guest", guest, set(per_guest), f"kernels.{name}")
        return self


class ForcedOrderCase(TargetModel):
    """What bench/forced_order.py measures where no kernel is wrong: an order and its absence."""

    required_arms: ClassVar[tuple[str, ...]] = ("forced", "unforced")


class RunModel(TargetModel):
    """What `harness run` is asked for: one kernel, one arm."""

    required_arms: ClassVar[tuple[str, ...]] = ("run",)

    workload: RunWorkloadModel = RunWorkloadModel()
    initrd: str | None = None

    @property
    def own_initrd(self) -> str | None:
        """None where the harness's own initramfs is booted."""
        return self.initrd


def _unique(kind: str, names: list[str]) -> set[str]:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two {kind} tables are named {name!r}")
    return set(names)


def _known(kind: str, name: str, names: set[str], where: str) -> None:
    if name not in names:
        have = ", ".join(sorted(names)) or "none"
        raise ValueError(f"{where} names the {kind} {name!r}, which is not defined (there: {have})")
