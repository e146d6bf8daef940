# SPDX-License-Identifier: BSD-2-Clause
"""Packaged kernels of other architectures boot, restore where they can, and are held outside."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from running import PROJECT

from harness.errors import InfrastructureError
from harness.kernels.toolchain import missing_compiler
from harness.paths import cache_folder
from harness.plan.load import Guest, load_case, load_guest, load_target
from harness.qemu.guest import GuestFiles, started_guest
from harness.qemu.process import require_qemu
from harness.qemu.snapshot import Snapshot, memory_of, save_snapshot, snapshot_storage
from harness.trials.arm import PreparedArm
from harness.trials.prepare import Request, prepare_arms
from harness.trials.trial import run_trial

ATTEMPTS = 5
MACHINES = {"linux-arm64": "aarch64", "linux-ppc64le": "ppc64le"}

pytestmark = [pytest.mark.guest, pytest.mark.timeout(300)]


@pytest.fixture(params=MACHINES)
def arm(request: pytest.FixtureRequest) -> PreparedArm:
    """A torn read forced on the distribution's kernel of another architecture."""
    guest = guest_or_skip(request.param)
    case = load_case(PROJECT / "bench" / "torn_read.toml")
    wanted = Request(case, guest, PROJECT, cache_folder(), arms=("forced",), compile="host")
    prepared = next(a for a in asyncio.run(prepare_arms(wanted, print)) if a.name == "forced")
    return replace(prepared, workload_args={"attempts": ATTEMPTS})


def test_boot_and_hold(arm: PreparedArm, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    guest = request.node.callspec.params["arm"]
    folder = tmp_path / "trial"
    folder.mkdir()
    with ExitStack() as stack:
        if load_guest(PROJECT, guest).model.boot.snapshot:
            arm = replace(arm, snapshot=stack.enter_context(saved(arm, tmp_path)))
        asyncio.run(check_alive(arm, tmp_path, MACHINES[guest]))
        record = asyncio.run(run_trial(arm, 1, 0, 7, folder))
    assert record.verdict == "reproduced", record.reason
    assert (record.attempts, record.attempts_reproduced) == (ATTEMPTS, ATTEMPTS)
    events = [json.loads(line) for line in (folder / "failpoints.jsonl").read_text().splitlines()]
    # before the first attempt, vCPU 0 may come there reading a program from the root, a tmpfs, too
    held = [e for e in events if e["rule"] == "both-written" and e["attempt"] > 0]
    assert arm.failpoints is not None
    (address,) = arm.failpoints.places["page-copied"].addresses
    assert [(event["vcpu"], event["outcome"], event["attempt"]) for event in held] == [
        (0, "reached", number) for number in range(1, ATTEMPTS + 1)
    ]
    assert {int(event["address"], 16) for event in held} == {address}
    assert all(event["end_ns"] > event["start_ns"] for event in held)


def test_the_swap_in_race_is_forced_on_arm64(tmp_path: Path) -> None:
    guest = guest_or_skip("linux-arm64")
    target = load_target(PROJECT, "linux-swapin-aba")
    wanted = Request(target, guest, PROJECT, cache_folder(), arms=("buggy",), compile="host")
    records = {}
    for arm in asyncio.run(prepare_arms(wanted, print)):
        arm = replace(arm, workload_args=arm.workload_args | {"attempts": ATTEMPTS})
        folder = tmp_path / arm.name
        folder.mkdir()
        with saved(arm, tmp_path) as snapshot:
            restored = replace(arm, snapshot=snapshot)
            records[arm.name] = asyncio.run(run_trial(restored, 1, 0, 7, folder))
    buggy, fixed = records["buggy"], records["fixed"]
    assert buggy.verdict == "reproduced", buggy.reason
    # with four of five, as with all: a page that could not be swapped out costs an attempt
    assert buggy.attempts_reproduced >= ATTEMPTS - 1
    assert fixed.verdict == "survived", fixed.reason
    assert (fixed.attempts, fixed.attempts_reproduced) == (ATTEMPTS, 0)
    assert fixed.orders_reached == 0, "the victim's claim keeps the aggressor out"


def guest_or_skip(name: str) -> Guest:
    """The guest, where this host can run it."""
    guest = load_guest(PROJECT, name)
    try:
        require_qemu(guest.model.machine.qemu)
    except InfrastructureError as error:
        pytest.skip(str(error))
    if missing := missing_compiler(guest.model.arch):
        pytest.skip(missing)
    return guest


@contextmanager
def saved(arm: PreparedArm, folder: Path) -> Iterator[Snapshot]:
    """A snapshot of the booted guest."""

    async def save(snapshot: Snapshot) -> None:
        files = GuestFiles.within(folder)
        async with started_guest(arm.plan, files, memory=memory_of(snapshot)) as guest:
            await guest.set_up(arm.image.setup)
            await save_snapshot(guest.monitor, snapshot)

    with snapshot_storage(arm.plan.machine.memory_nodes) as snapshot:
        asyncio.run(save(snapshot))
        yield snapshot


async def check_alive(arm: PreparedArm, folder: Path, machine: str) -> None:
    """The guest is of the right kind, and the timers of both vCPUs go."""
    files = GuestFiles.within(folder)
    async with started_guest(arm.plan, files, snapshot=arm.snapshot) as guest:
        async with asyncio.timeout(30):
            answer = await guest.channel.check("uname -m; nproc")
            assert answer.split() == [machine.encode(), b"2"]
            for cpu in (0, 1):
                await guest.channel.check(f"taskset -c {cpu} sleep 0.05")
