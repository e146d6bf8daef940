# SPDX-License-Identifier: BSD-2-Clause
"""Targets whose arm64 and ppc64le kernels are built here: both arms, with pages of 64 KiB."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.errors import InfrastructureError
from harness.kernels.kbuild.architecture import architecture
from harness.kernels.kbuild.requirements import missing_packages
from harness.kernels.toolchain import missing_compiler
from harness.paths import PROJECT
from harness.plan.load import load_guest
from harness.qemu.process import require_qemu

pytestmark = [
    pytest.mark.guest,
    pytest.mark.slow,
    pytest.mark.cross_build,
    pytest.mark.timeout(5400),
]

ATTEMPTS = 20
FAULT, READ = "freed page in a migration wait", "freed page in a buffered read"


def campaign(target: str, guest: str, results: Path, *arms: str) -> dict[str, Any]:
    """The summary of one trial in each of the arms; skips what this host cannot build or run."""
    model = load_guest(PROJECT, guest).model
    try:
        require_qemu(model.machine.qemu)
    except InfrastructureError as error:
        pytest.skip(str(error))
    arch = architecture(model.arch)
    if missing := missing_packages(f"{arch.cross_compile}gcc", arch):
        pytest.skip(f"no kernel can be built here without {', '.join(missing.values())}")
    if reason := missing_compiler(model.arch):
        pytest.skip(reason)
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("harness")), "repro", target, "--guest", guest,
            "--json", "--trials", "1", "--seed", "1", "--results", str(results),
            "--arms", ",".join(arms),
        ],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 3), done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


@pytest.mark.parametrize("guest", ["linux-arm64", "linux-ppc64le"])
def test_pages_are_freed_under_their_users(guest: str, tmp_path: Path) -> None:
    arms = campaign("linux-iomap-migrate", guest, tmp_path, "buggy-read", "fixed-read")["arms"]
    assert arms["buggy"]["symptoms"] == {FAULT: 1}
    assert arms["buggy-read"]["symptoms"] == {READ: 1}
    assert (arms["buggy"]["orders_reached"], arms["buggy-read"]["orders_reached"]) == (1, 1)
    for arm in ("fixed", "fixed-read"):
        assert arms[arm]["survived"] == 1
        # on a loaded host the victim now and then misses a migration
        assert arms[arm]["attempts"]["carried_out"] >= ATTEMPTS - 2


def test_the_swap_in_race_is_forced_on_ppc64le(tmp_path: Path) -> None:
    arms = campaign("linux-swapin-aba", "linux-ppc64le", tmp_path, "buggy")["arms"]
    assert arms["buggy"]["symptoms"] == {"lost update": 1}
    assert arms["buggy"]["orders_reached"] == 1
    assert (arms["fixed"]["survived"], arms["fixed"]["orders_reached"]) == (1, 0)
    assert arms["fixed"]["attempts"]["reproduced"] == 0
