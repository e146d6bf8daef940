# SPDX-License-Identifier: BSD-2-Clause
"""The main job as a user runs it: two stock kernels, the race on one, silence on the other."""

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from running import PROJECT, Done, Harness

pytestmark = [pytest.mark.guest, pytest.mark.timeout(300)]
ARM_KEYS = {
    "kernel", "trials", "reproduced", "crashed", "hung", "survived", "void", "symptoms",
    "orders_reached", "rate", "rate_low", "rate_high", "median_guest_seconds",
    "median_wall_seconds", "median_cpu_seconds", "accelerator",
}  # fmt: skip
CONTROLS = ("buggy-held-before-read", "buggy-one-round-short")


@dataclass(frozen=True)
class MainJob:
    harness: Harness
    done: Done

    @property
    def folder(self) -> Path:
        return self.harness.campaigns()[0]

    @property
    def arms(self) -> dict[str, Any]:
        return self.done.document["arms"]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> MainJob:
    harness = Harness(PROJECT, tmp_path_factory.mktemp("main") / "results")
    done = harness.run("repro", "--trials", "2", "--confidence", "0.9", "--json", seconds=280)
    assert done.status == 0, done.err
    return MainJob(harness, done)


def test_the_claim_holds(job: MainJob) -> None:
    document = job.done.document
    assert document["claim"] == "holds"
    assert document["target"] == "linux-swapin-aba"
    assert document["guest"] == "linux-x86_64"
    assert 0.9 <= document["confidence"] < 1
    assert document["unexpected"] == []
    assert document["campaign"] == job.folder.name
    assert "slot-came-round" in document["failpoints"]


def test_the_document_is_the_summary(job: MainJob) -> None:
    assert json.loads((job.folder / "summary.json").read_bytes()) == job.done.document


def test_arms_have_every_key(job: MainJob) -> None:
    assert set(job.arms) == {"buggy", "fixed", *CONTROLS}
    for found in job.arms.values():
        assert found.keys() >= ARM_KEYS
        assert (found["trials"], found["void"], found["accelerator"]) == (2, 0, "tcg")


def test_buggy_reproduces_and_the_others_are_silent(job: MainJob) -> None:
    buggy = job.arms["buggy"]
    assert buggy["reproduced"] == 2
    assert buggy["symptoms"] == {"lost update": 2}
    assert buggy["orders_reached"] == 2
    assert buggy["attempts"]["reproduced"] >= 0.9 * buggy["attempts"]["carried_out"] > 0
    assert 0 < buggy["median_cpu_seconds"] <= 2
    for name in ("fixed", *CONTROLS):
        assert (job.arms[name]["survived"], job.arms[name]["reproduced"]) == (2, 0), name
        assert job.arms[name]["attempts"]["carried_out"] > 0
    for name in CONTROLS:
        assert job.arms[name]["orders_reached"] == 2, "a control that held nobody shows nothing"


def test_evidence_is_there(job: MainJob) -> None:
    for name in job.arms:
        for number in (1, 2):
            folder = job.folder / "trials" / f"{name}-{number:04d}"
            files = {path.name for path in folder.iterdir()}
            assert files >= {
                "trial.json", "console.log", "control.log", "qemu.json", "qemu.log",
                "workload.jsonl", "failpoints.jsonl",
            }  # fmt: skip
            qemu = json.loads((folder / "qemu.json").read_bytes())
            assert "tcg,thread=multi" in qemu["argv"]
            assert not any("kvm" in word for word in qemu["argv"])
            assert qemu["version"].startswith("QEMU emulator version")
    drawn = (job.folder / "trials" / "buggy-0001" / "interleaving.txt").read_text()
    assert "page-read" in drawn
    assert len((job.folder / "ledger.jsonl").read_bytes().splitlines()) == 8


def test_consoles_are_of_the_right_kernels(job: MainJob) -> None:
    for name, found in job.arms.items():
        release = re.search(r"linux-image-(\S+)", found["kernel"])
        assert release is not None
        console = (job.folder / "trials" / f"{name}-0001" / "console.log").read_bytes()
        assert f"Linux version {release.group(1)} ".encode() in console
        assert b"Run /init as init process" in console
        record = json.loads((job.folder / "trials" / f"{name}-0001" / "trial.json").read_bytes())
        assert f"harness: trial, seed {record['seed']}".encode() in console
        assert console.count(b"harness: trial, seed") == 1
    assert "5.10." in job.arms["buggy"]["kernel"]
    assert "6.1." in job.arms["fixed"]["kernel"]


def test_seeds_differ_and_the_plan_holds_what_it_takes_to_repeat(job: MainJob) -> None:
    seeds = [record["seed"] for record in map(json.loads, job.harness.finished().values())]
    assert len(set(seeds)) == 8
    plan = json.loads((job.folder / "campaign.json").read_bytes())
    assert plan["arms"]["buggy"]["places"]["page-read"]["function"] == "do_swap_page"
    assert plan["arms"]["buggy"]["kernel_identity"] != plan["arms"]["fixed"]["kernel_identity"]
    assert {"seed", "versions", "failpoints", "inputs"} <= plan.keys()


def test_progress_is_plain_lines_on_stderr(job: MainJob) -> None:
    assert "buggy 2: reproduced (lost update" in job.done.err
    assert "rate 1.00 [" in job.done.err
    assert "to go" in job.done.err
    assert "\x1b" not in job.done.err
    assert job.harness.no_qemu_within()


def test_resuming_a_finished_one_prints_its_summary_and_exit_code(job: MainJob) -> None:
    before = job.harness.finished()
    done = job.harness.run("repro", "--resume", "--json", seconds=120)
    assert done.status == 0, done.err
    assert (done.status, done.document) == (0, job.done.document)
    by_name = job.harness.run("repro", "--resume", job.folder.name, "--json", seconds=120)
    assert by_name.document == job.done.document
    assert job.harness.finished() == before


def test_resume_refuses_another_target_s_files(job: MainJob, harness: Harness) -> None:
    done = harness.run("repro", "--resume")
    assert done.status == 2
    assert "no campaign of linux-swapin-aba" in done.err


def test_a_replay_is_the_same_trial_again(job: MainJob) -> None:
    trial = job.folder / "trials" / "buggy-0001"
    before = job.harness.finished()
    boots = {path: path.read_bytes() for path in job.folder.glob("boots/*/console.log")}
    done = job.harness.run("replay", str(trial), "--json")
    assert done.status == 0, done.err
    again = done.document
    old = json.loads((trial / "trial.json").read_bytes())
    assert (again["before"], again["verdict"], again["same"]) == ("reproduced", "reproduced", True)
    assert (again["seed"], again["arm"], again["start"]) == (old["seed"], "buggy", old["start"])
    assert Path(again["folder"]).parent == job.folder / "replays"
    assert (Path(again["folder"]) / "console.log").stat().st_size > 1000
    assert job.harness.finished() == before
    assert {path: path.read_bytes() for path in boots} == boots, "evidence was overwritten"


def test_without_failpoints(harness: Harness) -> None:
    done = harness.run(
        "repro", "--no-failpoints", "--trials", "1", "--json", "--cold-boot", seconds=250
    )
    assert done.status in (0, 1, 3), done.err  # whether it shows in 20 s is chance
    document = done.document
    assert document["failpoints"] == {}
    assert set(document["arms"]) == {"buggy", "fixed"}
    fixed = document["arms"]["fixed"]
    assert (fixed["trials"], fixed["survived"], fixed["orders_reached"]) == (1, 1, 0), done.err
    for path in harness.results.glob("*/trials/*"):
        record = json.loads((path / "trial.json").read_bytes())
        assert record["start"] == "boot"
        assert record["failpoints"] == {}
        assert record["workload_fields"]["operations"] > 100
        assert "-plugin" not in json.loads((path / "qemu.json").read_bytes())["argv"]
    assert not list(harness.results.glob("*/boots"))


def test_make_repro_is_the_same(tmp_path: Path) -> None:
    done = subprocess.run(
        ["make", "-n", "repro", "TARGET=t", "ARCH=arm64", "TRIALS=3", "ARGS=--json"],
        cwd=PROJECT, capture_output=True, text=True, check=True,
        env={key: value for key, value in os.environ.items() if not key.startswith("MAKE")},
    )  # fmt: skip
    words = done.stdout.replace("\\\n", " ").split()
    assert words[-6:] == ["t", "--arch", "arm64", "--trials", "3", "--json"]
