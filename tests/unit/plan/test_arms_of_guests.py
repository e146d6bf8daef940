# SPDX-License-Identifier: BSD-2-Clause
"""An arm may belong to some guests only; every guest needs the arms that a target must have."""

import tomllib
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError
from running import PROJECT

from harness.plan.load import load_case, load_guest, load_target
from harness.plan.target import ForcedOrderCase, TargetModel

SWAPIN = PROJECT / "failpoints" / "linux-swapin-aba" / "target.toml"


def target(change: Callable[[dict[str, Any]], None]) -> TargetModel:
    content = tomllib.loads(SWAPIN.read_text())
    change(content)
    return TargetModel.model_validate(content)


def named(content: dict[str, Any], name: str, guest: str) -> dict[str, Any]:
    (arm,) = (a for a in content["arm"] if a["name"] == name and guest in a["guests"])
    found: dict[str, Any] = arm
    return found


def test_each_guest_has_its_own_arm_of_a_name() -> None:
    model = load_target(PROJECT, "linux-swapin-aba").model
    for guest in model.guests:
        (buggy,) = (arm for arm in model.arms_on(guest) if arm.name == "buggy")
        assert guest in buggy.guests
    on_arm64 = {arm.name for arm in model.arms_on("linux-arm64")}
    on_x86 = {arm.name for arm in model.arms_on("linux-x86_64")}
    assert "buggy-other-slot" in on_arm64 - on_x86
    assert "buggy-one-round-short" in on_x86 - on_arm64


def test_an_arm_without_guests_is_every_guest_s() -> None:
    def everywhere(content: dict[str, Any]) -> None:
        del named(content, "buggy-one-round-short", "linux-x86_64")["guests"]

    model = target(everywhere)
    assert all("buggy-one-round-short" in {a.name for a in model.arms_on(g)} for g in model.guests)


def test_two_arms_of_one_name_on_one_guest_are_refused() -> None:
    def twice(content: dict[str, Any]) -> None:
        named(content, "buggy", "linux-arm64")["guests"].append("linux-x86_64")

    with pytest.raises(ValidationError, match=r"two arm \(on linux-x86_64\) .* 'buggy'"):
        target(twice)


def test_a_guest_without_a_buggy_arm_is_refused() -> None:
    def without(content: dict[str, Any]) -> None:
        content["arm"].remove(named(content, "buggy", "linux-arm64"))

    with pytest.raises(ValidationError, match=r"on linux-arm64.*'buggy', which is not defined"):
        target(without)


def test_an_arm_for_an_unknown_guest_is_refused() -> None:
    def misspelt(content: dict[str, Any]) -> None:
        named(content, "buggy", "linux-arm64")["guests"] = ["linux-arm46"]

    with pytest.raises(ValidationError, match="arm buggy: guests names the guest 'linux-arm46'"):
        target(misspelt)


def test_a_benchmark_s_case_has_other_arms_than_a_target() -> None:
    file = PROJECT / "bench" / "torn_read.toml"
    assert {arm.name for arm in load_case(file).model.arm} == {"forced", "unforced"}
    content = tomllib.loads(file.read_text())
    with pytest.raises(ValidationError, match="'buggy', which is not defined"):
        TargetModel.model_validate(content)
    content["arm"] = [arm for arm in content["arm"] if arm["name"] == "forced"]
    with pytest.raises(ValidationError, match="'unforced', which is not defined"):
        ForcedOrderCase.model_validate(content)


def test_ports_are_the_guest_s_own() -> None:
    arm64 = load_guest(PROJECT, "linux-arm64").model.machine
    assert arm64.console == ["-serial", "chardev:console"]
    assert arm64.control == ["-device", "pci-serial,chardev=control"]
    assert load_guest(PROJECT, "linux-ppc64le").model.machine.control == [
        "-serial",
        "chardev:control",
    ]
