# SPDX-License-Identifier: BSD-2-Clause
"""A guest with too few vCPUs for a target's race: said, not refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.plan.load import load_guest, load_target
from harness.trials import prepare
from harness.trials.prepare import Request

PROJECT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(("vcpus", "warned"), [(1, True), (2, False), (4, False)])
def test_too_few_vcpus_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vcpus: int, warned: bool
) -> None:
    monkeypatch.setattr(prepare, "require_qemu", lambda binary: None)
    guest = load_guest(PROJECT, "gnumach-x86_64")
    hardware = guest.model.machine.model_copy(update={"vcpus": vcpus})
    guest = replace(guest, model=guest.model.model_copy(update={"machine": hardware}))
    request = Request(load_target(PROJECT, "mach-port-names"), guest, PROJECT, tmp_path)
    said: list[str] = []
    machine = prepare._machine(request, needs_tcg=True, say=said.append)
    assert machine.vcpus == vcpus
    told = "the race of mach-port-names needs 2 vCPUs, and gnumach-x86_64 has 1"
    assert [line for line in said if told in line] == (said if warned else [])
    assert bool(said) == warned
