# SPDX-License-Identifier: BSD-2-Clause
"""Kernels with KASAN and with KCSAN: built with the harness's own fragments, booted, and read."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from running import PROJECT, Harness

from harness.kernels.kbuild.architecture import architecture
from harness.kernels.kbuild.requirements import missing_packages

SANITIZERS = PROJECT / "tests" / "guest" / "sanitizers"
SECONDS = 3600

pytestmark = [pytest.mark.guest, pytest.mark.slow, pytest.mark.timeout(SECONDS)]

Trials = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Trials:
    """One trial of every arm: its record."""
    if missing := missing_packages("gcc", architecture("x86_64")):
        pytest.skip(f"a kernel cannot be built here: {', '.join(missing.values())} missing")
    folder = tmp_path_factory.mktemp("sanitizers")
    target = folder / "project" / "failpoints" / "sanitizers"
    target.mkdir(parents=True)
    for name in ("target.toml", "mistakes.patch"):
        shutil.copy(SANITIZERS / name, target)
    workloads = folder / "project" / "workloads"
    workloads.mkdir()
    shutil.copy(PROJECT / "workloads" / "harness_workload.h", workloads)
    shutil.copy(SANITIZERS / "mistakes.c", workloads)
    shutil.copytree(PROJECT / "guest-configs", folder / "project" / "guest-configs")
    (folder / "project" / "scripts").mkdir()
    shutil.copy(PROJECT / "scripts" / "host-packages", folder / "project" / "scripts")
    harness = Harness(folder / "project", folder / "results")
    done = harness.run(
        "repro", "sanitizers", "--arms", "all", "--trials", "1", "--seed", "1", "--json",
        seconds=SECONDS,
    )  # fmt: skip
    assert done.out, done.err
    found: list[tuple[Path, dict[str, Any]]] = [
        (Path(path), json.loads(record)) for path, record in harness.finished().items()
    ]
    return {
        record["arm"]: record | {"console": (path.parent / "console.log").read_text()}
        for path, record in found
    }


def test_a_use_of_freed_memory_is_read_from_kasan_s_report(trials: Trials) -> None:
    record = trials["buggy"]
    title = "KASAN: use-after-free Read in use_freed"
    assert record["verdict"] == "reproduced"
    assert record["symptoms"][0]["detail"] == title
    # once per boot: KASAN says no more after the first
    assert record["reports"] == [title]
    assert "Freed by task" in record["console"]


def test_kasan_is_silent_where_nothing_is_wrong(trials: Trials) -> None:
    record = trials["fixed"]
    assert (record["verdict"], record["reports"]) == ("survived", [])
    assert record["workload_fields"]["made"] > 0


def test_a_data_race_is_read_from_kcsan_s_report(trials: Trials) -> None:
    record = trials["race"]
    assert record["verdict"] == "reproduced"
    assert record["symptoms"][0]["detail"] == "KCSAN: data-race in count_first / count_first"


def test_a_data_race_that_no_symptom_names_is_kept_and_does_not_count(trials: Trials) -> None:
    record = trials["other-race"]
    other = "KCSAN: data-race in count_second / count_second"
    assert record["verdict"] == "survived"
    assert other in record["reports"]
    assert f"not counted, a data race that no symptom names: {other}" in record["notes"]
