# SPDX-License-Identifier: BSD-2-Clause
"""cow_churn.c on the host's own Linux: quiet on a kernel that works, and not blind."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

WORKLOADS = Path(__file__).parents[3] / "workloads"
PLANTS = ("stale", "foreign", "torn", "zero", "segv", "bus", "kill", "nothing-known")
ALL_MODES = (
    "seconds=100",
    "chain=1",
    "neighbours=1",
    "order=random",
    "pages=64",
    "workers=1",
    "rounds=6",
)

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this host")

Run = tuple[int, list[dict[str, Any]]]
"""Exit status and what was said."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """All at once, since each takes its second."""
    program = tmp_path_factory.mktemp("cow_churn") / "cow_churn"
    argv = ["gcc", "-Wall", "-Wextra", "-Werror", "-O2", "-pthread", "-o", str(program)]
    subprocess.run([*argv, str(WORKLOADS / "cow_churn.c")], check=True, timeout=120)
    started = {
        plant: subprocess.Popen(
            [program, "seed=1", *ALL_MODES, *((f"plant={plant}",) if plant else ())],
            stdout=subprocess.PIPE, text=True,
        )
        for plant in ("", *PLANTS)
    }  # fmt: skip
    found = {}
    for plant, process in started.items():
        output, _ = process.communicate(timeout=120)
        found[plant] = (process.returncode, [json.loads(line) for line in output.splitlines()])
    return found


def symptoms(run: Run) -> list[dict[str, Any]]:
    return [line for line in run[1] if line["event"] == "symptom"]


def test_nothing_is_wrong_with_this_kernel(runs: dict[str, Run]) -> None:
    status, said = runs[""]
    assert (status, symptoms(runs[""])) == (0, [])
    assert (said[0]["event"], said[-1]["event"]) == ("start", "done")
    done = said[-1]
    assert (done["rounds"], done["writes"]) == (6, 6 * 64)
    assert done["forks"] == 1 + 2 * 6  # children have children
    assert (done["lost"], done["sigsegv"], done["sigbus"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("plant", "page", "generation"),
    [("stale", 32, 3), ("foreign", 33, 4), ("torn", 32, 4), ("zero", 0, 0)],
)
def test_a_page_that_is_not_what_was_written_is_reported(
    runs: dict[str, Run], plant: str, page: int, generation: int
) -> None:
    (symptom,) = symptoms(runs[plant])
    assert (symptom["name"], symptom["page"], symptom["expected"]) == ("lost update", 32, 4)
    assert (symptom["found_page"], symptom["found"]) == (page, generation)
    assert runs[plant][1][-1]["lost"] == 1


@pytest.mark.parametrize(("plant", "signal"), [("segv", 11), ("bus", 7)])
def test_a_process_that_dies_of_its_memory_is_reported(
    runs: dict[str, Run], plant: str, signal: int
) -> None:
    (symptom,) = symptoms(runs[plant])
    assert (symptom["name"], symptom["signal"]) == ("killed", signal)
    assert runs[plant][1][-1][f"sig{plant}"] == 1


@pytest.mark.parametrize(
    ("plant", "says"),
    [("kill", "signal 9: has the guest run out of memory"), ("nothing-known", "plant: expected")],
)
def test_what_says_nothing_of_the_kernel_is_an_error(
    runs: dict[str, Run], plant: str, says: str
) -> None:
    assert symptoms(runs[plant]) == []
    assert runs[plant][0] == 2
    assert says in runs[plant][1][-1]["message"]
