# SPDX-License-Identifier: BSD-2-Clause
"""Faults of the harness's own making are void, whatever they hit; no finished trial is lost."""

import asyncio
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from running import Harness, make_project

from harness.errors import InfrastructureError
from harness.paths import cache_folder
from harness.plan.load import load_guest, load_target
from harness.progress import silent
from harness.qemu.guest import RunningGuest
from harness.trials import campaign as campaign_module
from harness.trials import trial as trial_module
from harness.trials.arm import PreparedArm
from harness.trials.prepare import Request, prepare_arms
from harness.trials.record import CampaignFolder
from harness.trials.trial import TrialRecord, run_trial

pytestmark = [pytest.mark.guest, pytest.mark.timeout(240)]
Chaos = Callable[..., Harness]
Fault = Callable[[RunningGuest], Awaitable[None] | None]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("faults") / "project")


def prepared(project: Path, name: str) -> PreparedArm:
    request = Request(
        load_target(project, "chaos"), load_guest(project, "linux-x86_64"), project,
        cache_folder(), arms=("all",),
    )  # fmt: skip
    return next(arm for arm in asyncio.run(prepare_arms(request, silent)) if arm.name == name)


@pytest.fixture
def inject(monkeypatch: pytest.MonkeyPatch) -> Callable[[Fault, float], None]:
    """Does something to the guest of the next trial, so many seconds after it was ready."""

    def arrange(fault: Fault, after: float) -> None:
        real = trial_module.started_guest

        @asynccontextmanager
        async def sabotaged(*arguments: Any, **more: Any) -> AsyncIterator[RunningGuest]:
            async with real(*arguments, **more) as guest:

                async def strike() -> None:
                    await asyncio.sleep(after)
                    if (work := fault(guest)) is not None:
                        await work

                task = asyncio.create_task(strike())
                try:
                    yield guest
                finally:
                    task.cancel()

        monkeypatch.setattr(trial_module, "started_guest", sabotaged)

    return arrange


def run(arm: PreparedArm, folder: Path) -> TrialRecord:
    folder.mkdir(exist_ok=True)
    return asyncio.run(run_trial(arm, 1, 0, 1, folder))


def kill_qemu(guest: RunningGuest) -> None:
    os.kill(guest.process.pid, signal.SIGKILL)


def stop_qemu(guest: RunningGuest) -> None:
    os.kill(guest.process.pid, signal.SIGSTOP)


def cut_channel(guest: RunningGuest) -> None:
    guest.process.lines.control.shutdown(2)


def corrupt_channel(guest: RunningGuest) -> None:
    guest.channel._reader.feed_data(b"\xa5\x5akernel noise on the wrong line\n" * 100)


async def end_init_s_line(guest: RunningGuest) -> None:
    await guest.channel.start("stty -F /dev/ttyS1 cooked echo; kill -9 -1")


async def quit_qemu(guest: RunningGuest) -> None:
    await guest.monitor.execute("quit")


def break_console_reader(guest: RunningGuest) -> None:
    def broken(_: bytes) -> None:
        raise ValueError("a defect of the parser")

    guest.console._listeners[0].__self__._stream.feed = broken  # type: ignore[attr-defined]
    guest.console._reader.feed_data(b"something is printed\n")


FAULTS = [
    (kill_qemu, "QEMU ended with status -9"),
    (quit_qemu, "QEMU ended with status 0"),
    (stop_qemu, "QEMU does not answer"),
    (cut_channel, "control channel"),
    (corrupt_channel, "control channel broke"),
    (break_console_reader, "a defect of the parser"),
]


@pytest.mark.parametrize(("fault", "reason"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_a_fault_during_a_trial_is_void(
    project: Path,
    tmp_path: Path,
    inject: Callable[[Fault, float], None],
    fault: Fault,
    reason: str,
) -> None:
    inject(fault, 1.0)
    record = run(prepared(project, "forever"), tmp_path / "trial")
    assert (record.verdict, reason in record.reason) == ("void", True), record
    assert record.guest_seconds is not None, "the workload was running"


@pytest.mark.parametrize("fault", [kill_qemu, cut_channel])
def test_a_fault_before_the_workload_started_is_void(
    project: Path, tmp_path: Path, inject: Callable[[Fault, float], None], fault: Fault
) -> None:
    inject(fault, 0)
    arm = prepared(project, "fixed")
    arm = replace(arm, image=replace(arm.image, setup=("sleep 3",)))
    assert run(arm, tmp_path / "trial").verdict == "void"


def test_a_guest_that_kills_its_own_init_is_no_reproduction(
    project: Path, tmp_path: Path, inject: Callable[[Fault, float], None]
) -> None:
    inject(end_init_s_line, 0.5)
    assert run(prepared(project, "forever"), tmp_path / "trial").verdict in ("void", "crashed")


@pytest.mark.parametrize(
    ("append", "words"),
    [
        ("rdinit=/bin/false", "Kernel panic - not syncing: VFS"),
        ("harness_channel=/dev/nowhere", "control channel /dev/nowhere: No such file"),
        ("mem=8M", "Kernel panic"),
    ],
)
def test_a_boot_that_fails_is_void_with_the_console_s_end(
    project: Path, tmp_path: Path, append: str, words: str
) -> None:
    arm = prepared(project, "buggy")
    boot = replace(arm.plan.boot, append=(*arm.plan.boot.append, append))
    arm = replace(arm, plan=replace(arm.plan, boot=boot, boot_seconds=90))
    record = run(arm, tmp_path / "trial")
    assert record.verdict == "void"
    assert words in record.reason
    assert record.attempts == 0


def test_a_setup_that_never_ends_is_void(project: Path, tmp_path: Path) -> None:
    arm = prepared(project, "buggy")
    image = replace(arm.image, setup=("sleep 1000",))
    arm = replace(arm, image=image, plan=replace(arm.plan, boot_seconds=30))
    record = run(arm, tmp_path / "trial")
    assert (record.verdict, record.reason) == (
        "void",
        "in the guest, `sleep 1000` did not end within 30 s",
    )


def test_a_kernel_that_is_garbage_is_void(project: Path, tmp_path: Path) -> None:
    arm = prepared(project, "buggy")
    (tmp_path / "vmlinuz").write_bytes(random.Random(1).randbytes(100_000))
    boot = replace(arm.plan.boot, kernel=tmp_path / "vmlinuz")
    arm = replace(arm, plan=replace(arm.plan, boot=boot, boot_seconds=10))
    record = run(arm, tmp_path / "trial")
    assert record.verdict == "void"
    assert "the guest did not become ready" in record.reason


def test_a_panicking_kernel_ends_the_campaign_with_its_last_lines(chaos: Chaos) -> None:
    harness = chaos(
        ('suite = "bullseye"\n', 'suite = "bullseye"\nappend = ["rdinit=/bin/false"]\n'),
    )
    done = harness.run("repro", "chaos")
    assert done.status == 4
    assert "could not be booted 3 times in a row" in done.err
    assert "Kernel panic - not syncing: VFS" in done.err
    cold = harness.run("repro", "chaos", "--cold-boot")
    assert cold.status == 4
    assert "2 void trials in a row" in cold.err
    assert "Kernel panic - not syncing" in cold.err
    summary = json.loads((harness.campaigns()[-1] / "summary.json").read_bytes())
    assert {name: found["trials"] for name, found in summary["arms"].items()} == {
        "buggy": 0,
        "fixed": 0,
    }
    assert harness.no_qemu_within()


def test_a_flood_beyond_the_limit_is_counted_and_harms_nothing(
    project: Path, tmp_path: Path
) -> None:
    arm = prepared(project, "flood")
    arm = replace(
        arm,
        plan=replace(arm.plan, console_limit=256 << 10),
        workload_args={"mode": "flood", "kib": 2 << 10},
        trial_seconds=120,
        heartbeat_seconds=60,
    )
    record = run(arm, tmp_path / "trial")
    assert record.verdict == "survived", record
    assert record.console_bytes > 2 << 20
    size = (tmp_path / "trial" / "console.log").stat().st_size
    assert size == 256 << 10
    assert record.console_dropped_bytes == record.console_bytes - size


def test_qemu_killed_in_a_campaign_is_void_and_it_goes_on(chaos: Chaos) -> None:
    harness = chaos(
        ('mode = "symptom"', 'mode = "symptom", ms = 1'), ('mode = "done"', "ms = 3000")
    )
    running = harness.start("repro", "chaos", "--trials", "2", "--json", "--cold-boot")

    def in_fixed_trial() -> bool:
        return any(
            b'"start"' in path.read_bytes()
            for path in harness.results.glob("*/trials/.unfinished-fixed-*/control.log")
        ) and bool(harness.qemus())

    harness.wait_for(running, in_fixed_trial)
    (qemu,) = harness.qemus()
    qemu.kill()
    done = harness.finish(running)
    assert done.status == 0, done.err
    fixed = done.document["arms"]["fixed"]
    assert (fixed["void"], fixed["survived"], fixed["trials"]) == (1, 2, 2), done.err
    assert "QEMU ended with status -9" in done.err


SLOW = (('mode = "done"', "ms = 400"), ('mode = "symptom"', 'mode = "symptom", ms = 1'))


def test_sigkill_at_any_moment_loses_nothing_and_leaves_no_qemu(chaos: Chaos) -> None:
    harness = chaos(*SLOW)
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"moments from random.Random({seed})")
    moments = random.Random(seed)
    arguments = ["repro", "chaos", "--trials", "5", "--confidence", "0.9", "--json"]
    for attempt in range(5):
        resume = ["--resume"] if attempt else []
        running = harness.start(*arguments, *resume)
        harness.wait_for(running, lambda: harness.campaigns() and harness.qemus())
        time.sleep(moments.uniform(0, 6))
        before = harness.finished()
        running.kill()
        running.wait()
        assert harness.no_qemu_within(), "a QEMU was left behind"
        assert harness.finished().items() >= before.items()
    before = harness.finished()
    done = harness.run(*arguments, "--resume")
    assert done.status == 0, done.err
    assert len(harness.campaigns()) == 1
    assert harness.finished().items() >= before.items(), "a finished trial was changed or lost"
    document = done.document
    assert document["complete"]
    for found in document["arms"].values():
        assert found["trials"] == 5
    folder = harness.campaigns()[0]
    ledger = [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]
    trials = [json.loads(record) for record in harness.finished().values()]
    assert sorted(map(canonical, ledger)) == sorted(map(canonical, trials))
    assert not list(folder.glob("trials/.*"))


def canonical(record: dict[str, Any]) -> str:
    return json.dumps(record, sort_keys=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_cleanly_and_can_be_resumed(chaos: Chaos, number: int) -> None:
    harness = chaos(*SLOW)
    running = harness.start("repro", "chaos", "--trials", "2")
    harness.wait_for(running, lambda: harness.finished())
    running.send_signal(number)
    done = harness.finish(running, 30)
    assert done.status == 130, done.err
    assert "interrupted; what was recorded is safe: go on with --resume" in done.err
    assert "Traceback" not in done.err
    assert harness.no_qemu_within(0.5)
    folder = harness.campaigns()[0]
    assert not list(folder.glob("trials/.*"))
    assert json.loads((folder / "summary.json").read_bytes())["complete"] is False
    before = harness.finished()
    done = harness.run("repro", "chaos", "--resume", "--json")
    assert done.status == 0, done.err
    assert harness.finished().items() > before.items()
    assert done.document["complete"]


def test_two_campaigns_at_once_in_one_results_folder(chaos: Chaos) -> None:
    harness = chaos()
    both = [harness.start("repro", "chaos", "--trials", "1", "--json") for _ in range(2)]
    done = [harness.finish(one) for one in both]
    assert [one.status for one in done] == [0, 0], done
    assert len({one.document["campaign"] for one in done}) == 2
    assert len(harness.campaigns()) == 2
    assert len(harness.finished()) == 4


def test_a_campaign_that_another_process_runs_is_left_alone(chaos: Chaos) -> None:
    harness = chaos(('mode = "done"', "ms = 5000"))
    running = harness.start("repro", "chaos", "--trials", "1", "--json")
    harness.wait_for(running, lambda: list(harness.results.glob("*/boots")))
    second = harness.run("repro", "chaos", "--resume")
    assert second.status == 4
    assert "another harness is running the campaign" in second.err
    assert harness.finish(running).status == 0


def test_resume_refuses_changed_inputs(chaos: Chaos) -> None:
    harness = chaos(*SLOW)
    running = harness.start("repro", "chaos", "--trials", "2")
    harness.wait_for(running, lambda: harness.finished())
    running.send_signal(signal.SIGINT)
    harness.finish(running, 30)
    target = harness.project / "failpoints" / "chaos" / "target.toml"
    target.write_text(target.read_text().replace("ms = 400", "ms = 401"))
    done = harness.run("repro", "chaos", "--resume")
    assert done.status == 2
    assert "has changed since" in done.err


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for a few trials."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system; the full disk is injected elsewhere")
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4M", "harness-test", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_told_and_nothing_recorded_is_lost(chaos: Chaos, small_disk: Path) -> None:
    harness = chaos(*SLOW)
    harness.results = small_disk / "results"
    running = harness.start("repro", "chaos", "--trials", "4", "--json")
    harness.wait_for(running, lambda: harness.finished())
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    done = harness.finish(running)
    assert done.status == 4, done.err
    assert re.search(r"cannot write .*No space left on device; free some space", done.err), done.err
    assert "Traceback" not in done.err
    assert harness.no_qemu_within()
    before = harness.finished()
    assert before
    filler.unlink()
    done = harness.run("repro", "chaos", "--resume", "--json")
    assert done.status == 0, done.err
    assert harness.finished().items() > before.items()
    assert {found["trials"] for found in done.document["arms"].values()} == {4}


def test_a_disk_that_is_full_in_a_trial_is_the_host_s_fault(
    project: Path, tmp_path: Path, inject: Callable[[Fault, float], None]
) -> None:
    def fill(guest: RunningGuest) -> None:
        guest.console.error = OSError(28, "No space left on device")

    inject(fill, 0.5)
    with pytest.raises(InfrastructureError, match="free some space"):
        run(replace(prepared(project, "forever"), trial_seconds=2), tmp_path / "trial")


def without(programs: set[str], folder: Path) -> str:
    """A PATH with everything but some programs."""
    folder.mkdir()
    for place in os.environ["PATH"].split(":"):
        for program in Path(place).glob("*") if Path(place).is_dir() else ():
            link = folder / program.name
            if program.name not in programs and not link.exists():
                link.symlink_to(program)
    return str(folder)


def test_missing_qemu_is_told(chaos: Chaos, tmp_path: Path) -> None:
    harness = chaos()
    path = without({"qemu-system-x86_64"}, tmp_path / "bin")
    done = harness.run("repro", "chaos", PATH=path)
    assert done.status == 4
    assert "qemu-system-x86_64" in done.err
    assert "doctor" in done.err
    doctor = harness.run("doctor", PATH=path)
    assert doctor.status == 4
    assert "mend it with: apt-get install qemu-system-x86" in doctor.out
    listed = harness.run("list", PATH=path)
    assert "not installed" in listed.out


def test_qemu_that_disappears_during_the_campaign(chaos: Chaos, tmp_path: Path) -> None:
    harness = chaos(*SLOW)
    path = without(set(), tmp_path / "bin")
    running = harness.start("repro", "chaos", "--trials", "3", PATH=path)
    harness.wait_for(running, lambda: harness.finished())
    (tmp_path / "bin" / "qemu-system-x86_64").unlink()
    done = harness.finish(running)
    assert done.status == 4, done.err
    assert "qemu-system-x86_64" in done.err
    done = harness.run("repro", "chaos", "--resume")
    assert done.status == 0, done.err


def test_missing_package_is_told(chaos: Chaos) -> None:
    if shutil.which("apt-cache") is None:
        pytest.skip("no apt on this host: packages cannot be looked for")
    harness = chaos(("linux-image-5.10.0-32-cloud-amd64", "linux-image-9.99-never"))
    done = harness.run("repro", "chaos")
    assert done.status == 4
    assert "has no package linux-image-9.99-never (any more)" in done.err
    assert "build the kernel from a tree of your own" in done.err


def test_no_network_is_told(chaos: Chaos, tmp_path: Path) -> None:
    harness = chaos()
    fake = tmp_path / "bin"
    fake.mkdir()
    script = """#!/bin/sh
case "$*" in
*indextargets*) echo 'http://nowhere.invalid/debian/|bullseye|main|Debian' ;;
*) echo "E: Failed to fetch http://nowhere.invalid/: Temporary failure resolving" >&2; exit 100 ;;
esac
"""
    (fake / "apt-get").write_text(script)
    (fake / "apt-get").chmod(0o755)
    done = harness.run(
        "repro", "chaos",
        PATH=f"{fake}:{os.environ['PATH']}", HARNESS_CACHE=str(tmp_path / "cache"),
    )  # fmt: skip
    assert done.status == 4
    assert "Temporary failure resolving" in done.err
    assert len(done.err.splitlines()) < 8


def test_the_boot_that_failed_is_tried_again(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One boot in some hundred fails on a loaded host: the campaign goes on with the next."""
    arm = prepared(project, "fixed")
    real, boots = campaign_module.started_guest, []

    def flaky(plan: Any, files: Any, **more: Any) -> Any:
        boots.append(plan)
        if len(boots) == 1:
            boot = replace(plan.boot, append=(*plan.boot.append, "rdinit=/bin/false"))
            plan = replace(plan, boot=boot)
        return real(plan, files, **more)

    monkeypatch.setattr(campaign_module, "started_guest", flaky)
    said: list[str] = []

    class Watcher:
        def say(self, text: str) -> None:
            said.append(text)

    async def snapshot_and_run() -> TrialRecord:
        async with AsyncExitStack() as stack:
            snapshots = campaign_module.Snapshots(
                stack,
                CampaignFolder(tmp_path),
                Watcher(),  # type: ignore[arg-type]
                [arm],
            )
            ready = await snapshots.started_from(arm)
            (tmp_path / "trial").mkdir()
            return await run_trial(ready, 1, 0, 1, tmp_path / "trial")

    record = asyncio.run(snapshot_and_run())
    assert len(boots) == 2
    assert any("failed; trying again" in line for line in said)
    assert (record.verdict, record.start) == ("survived", "snapshot")
