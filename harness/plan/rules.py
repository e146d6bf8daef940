# SPDX-License-Identifier: BSD-2-Clause
"""Places, failpoints, orders and adjustments of a target."""

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from harness.errors import ConfigurationError
from harness.failpoints.grammar import parse_setting
from harness.failpoints.mechanisms import MECHANISMS, refuse_unsupported
from harness.plan.model import Model, Name, PlaceText, SettingText


class PlaceModel(Model):
    """[[place]]: a name for an address; of several spellings the first that the kernel has."""

    name: Name
    at: list[PlaceText] | PlaceText

    @property
    def spellings(self) -> list[str]:
        """The place's spellings, the preferred first."""
        return self.at if isinstance(self.at, list) else [self.at]


class RuleModel(Model):
    """What an arm can switch on by its name: a failpoint or an order."""

    name: Name


class FailpointModel(RuleModel):
    """[[failpoint]]: where, by which mechanism, and what happens, in the language of fail(9).

    `plugin` and `gdb` act from outside, at a `place`; the others are the guest's own kernel's, at
    a `point` that it has under that name. `knobs`, `only_workload` and `devices` are debugfs's.
    """

    mechanism: Literal["plugin", "gdb", "hook", "debugfs", "sysctl"] = "plugin"
    place: Name | None = None
    point: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.:]+$")
    do: SettingText
    knobs: dict[str, bool | int | str] = {}
    only_workload: bool = False
    devices: list[str] = []

    @model_validator(mode="after")
    def _suits_its_mechanism(self) -> "FailpointModel":
        mechanism = MECHANISMS[self.mechanism]
        given = {"place": self.place, "point": self.point}
        other = "point" if mechanism.at == "place" else "place"
        if given[mechanism.at] is None or given[other] is not None:
            raise ValueError(
                f"a failpoint of the mechanism {self.mechanism!r} is set at a `{mechanism.at}`, "
                f"not at a `{other}`"
            )
        if self.mechanism != "debugfs" and (self.knobs or self.only_workload or self.devices):
            raise ValueError(
                "`knobs`, `only_workload` and `devices` go with the mechanism 'debugfs'"
            )
        try:
            refuse_unsupported(parse_setting(self.do), mechanism, "do")
        except ConfigurationError as error:
            raise ValueError(str(error)) from error
        return self


class AdjustModel(Model):
    """[[adjust]]: words of a variable of the kernel's that are changed in every booted guest."""

    variable: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    words: int = Field(default=1, ge=1, le=1024)
    """How many words of the guest's size, from its beginning; those that are zero stay."""
    add: int
    about: str = Field(min_length=1)
    """Why: it is done to the fixed kernel, too."""


class UntilModel(Model):
    """`until` of an order: what the held vCPU waits for."""

    place: Name
    count: PositiveInt = 1
    vcpu: int | None = Field(default=None, ge=0)
    since: Literal["arrival", "mark", "start"] = "arrival"
    counting: Literal["passes", "arrivals"] = "passes"


class OrderModel(RuleModel):
    """[[order]]: whoever reaches `hold` waits there until another place has been passed."""

    hold: Name
    vcpu: int | None = Field(default=None, ge=0)
    until: UntilModel
    timeout_ms: float = Field(gt=0, le=60_000)
    per_attempt: PositiveInt | None = None
    skip: int = Field(default=0, ge=0, le=2**32 - 1)
    """Arrivals that go by in each attempt before anybody is held: with 1 the second one is."""
