# SPDX-License-Identifier: BSD-2-Clause
"""FreeBSD's two races on kernels of the tree HARNESS_FREEBSD_SRC."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from configured import NO_SOURCE, SOURCE, freebsd_marks

from harness.paths import PROJECT

pytestmark = freebsd_marks(bool(SOURCE), NO_SOURCE)
FREED = "freeing mapped page"


def campaign(target: str, results: Path, *arms: str, trials: int) -> dict[str, Any]:
    """The summary's arms."""
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("harness")), "repro", target, "--json",
            "--source", SOURCE, "--trials", str(trials), "--seed", "1",
            "--results", str(results), "--arms", ",".join(arms),
        ],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 3), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["arms"]
    return found


def assert_that_ddb_has_answered(results: Path, *arms: str) -> None:
    """After each of the arms' panics: on the CPU that panicked, with the collapse on its stack."""
    for arm in arms:
        for trial in results.glob(f"*/trials/{arm}-*"):
            if json.loads((trial / "trial.json").read_text())["verdict"] != "reproduced":
                continue
            answers = (trial / "ddb.txt").read_text()
            asked = re.findall(r"^== (.*)", answers, re.MULTILINE)
            assert asked == ["show pcpu", "show page", "ps", "alltrace"]
            stacks = answers.split("\nTracing command ")[1:]
            (panicked,) = [stack for stack in stacks if "vpanic" in stack]
            assert re.search(r"vm_object_collapse(?:\(\) at|\+0x)", panicked)
            assert re.search(r"vm_object_collapse_scan sys/vm/vm_object\.c:\d+", panicked)
            assert "vm_object_collapse() at " in (trial / "reports.txt").read_text()


def test_a_mapped_page_is_freed_with_and_without_a_fail_point(tmp_path: Path) -> None:
    arms = campaign("freebsd-cow-valid", tmp_path, "released", "fixed-free", trials=2)
    assert arms["buggy"]["symptoms"] == {FREED: 2}
    assert arms["released"]["symptoms"] == {FREED: 2}
    assert_that_ddb_has_answered(tmp_path, "buggy", "released")
    for arm in ("fixed", "fixed-free"):
        assert arms[arm]["survived"] == 2
        assert arms[arm]["attempts"]["carried_out"] > 0  # the right to write was taken in time


def test_a_collapse_frees_a_mapped_page_with_the_handling_of_2015(tmp_path: Path) -> None:
    arms = campaign("freebsd-collapse", tmp_path, "buggy", trials=3)
    assert arms["buggy"]["symptoms"].get(FREED, 0) >= 2
    assert_that_ddb_has_answered(tmp_path, "buggy")
    assert arms["fixed"]["survived"] == 3
    met = [
        json.loads(line)["counter"]
        for heard in tmp_path.glob("*/trials/fixed-*/workload.jsonl")
        for line in heard.read_text().splitlines()
        if '"counter"' in line
    ]
    assert max(met) > 0  # the same states came up, and nothing happened
