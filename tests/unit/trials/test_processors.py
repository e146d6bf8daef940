# SPDX-License-Identifier: BSD-2-Clause
"""Guests with fewer processors than a target speaks of."""

import pytest
from running import PROJECT

from harness.errors import ConfigurationError
from harness.plan.load import load_guest, load_target, target_names
from harness.plan.needs import TargetMachineModel
from harness.plan.rules import FailpointModel, OrderModel
from harness.trials.processors import require_vcpus, warn_of_one_vcpu


def order(vcpu: int | None, until: int | None) -> OrderModel:
    return OrderModel.model_validate(
        {
            "name": "victim-waits",
            "hold": "here",
            "vcpu": vcpu,
            "until": {"place": "there", "vcpu": until},
            "timeout_ms": 1,
        }
    )


def failpoint(setting: str) -> FailpointModel:
    return FailpointModel(name="slow", place="here", do=setting)


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        (order(2, 0), "'victim-waits' names vCPU 2, and some-guest has vCPUs 0 to 1"),
        (order(None, 3), r"write `vcpus = 4` under \[machine\.some-guest\]"),
        (failpoint("delay(5)[vcpu 0]->delay(9)[vcpu 2]"), "'slow' names vCPU 2"),
    ],
)
def test_a_rule_about_a_vcpu_that_is_not_there(
    rule: FailpointModel | OrderModel, names: str
) -> None:
    with pytest.raises(ConfigurationError, match=names):
        require_vcpus([rule], 2, "some-guest")
    require_vcpus([rule], 4, "some-guest")


def test_one_vcpu_has_a_number_of_its_own() -> None:
    with pytest.raises(ConfigurationError, match="has vCPU 0 only"):
        require_vcpus([order(0, 1)], 1, "some-guest")


def test_one_vcpu_is_warned_of() -> None:
    said: list[str] = []
    warn_of_one_vcpu(2, "some-guest", said.append)
    assert said == []
    warn_of_one_vcpu(1, "some-guest", said.append)
    assert "some-guest has one vCPU" in said[0]


def test_the_project_s_targets_have_all_vcpus_that_they_name() -> None:
    for name in target_names(PROJECT):
        target = load_target(PROJECT, name).model
        for guest in target.guests:
            vcpus = target.machine.get(guest, TargetMachineModel()).vcpus
            used = {rule for arm in target.arms_on(guest) for rule in arm.use}
            require_vcpus(
                [rule for rule in target.rules if rule.name in used],
                vcpus or load_guest(PROJECT, guest).model.machine.vcpus,
                guest,
            )
