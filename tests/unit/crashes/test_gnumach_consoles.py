# SPDX-License-Identifier: BSD-2-Clause
"""Recorded consoles of trials of mach-port-names: each verdict's report, or that there is none."""

from pathlib import Path

import pytest

from harness.crashes import detect_system, parse_console
from harness.plan.load import load_target

PROJECT = Path(__file__).resolve().parents[3]
RECORDED = Path(__file__).with_name("recorded")
IN_PMAP = "panic: pmap_enter(NUM, NUM) falls in physical memory area! in pmap_enter"


def symptoms_of(console: bytes) -> list[str]:
    """The target's symptoms that the console's reports are."""
    target = load_target(PROJECT, "mach-port-names").model
    return [
        symptom.name.split()[1]
        for report in parse_console(console, "gnumach")
        for symptom in target.symptom
        if symptom.console is not None and symptom.console.match(report).matched
    ]


@pytest.mark.parametrize(
    ("name", "titles", "symptoms"),
    [
        (
            "assertion-object",
            ["assertion `object->ref_count > 0' failed in vm_fault_wire_fast"],
            ["over"],
        ),
        ("assertion-page", ["assertion `!must_be_resident' failed in vm_fault_page"], ["over"]),
        ("panic", [IN_PMAP], ["entry"]),
        ("panic-i686", [IN_PMAP], ["entry"]),
        ("trap", ["Kernel Page fault in vm_fault_wire_fast"], ["is"]),
        # what hangs says nothing: tests/unit/hangs/recorded
        ("deadlock", [], []),
        ("livelock", [], []),
        ("survived", [], []),
    ],
)
def test_a_recorded_console(name: str, titles: list[str], symptoms: list[str]) -> None:
    console = (RECORDED / f"gnumach-{name}.log").read_bytes()
    assert [report.title for report in parse_console(console, "gnumach")] == titles
    assert symptoms_of(console) == symptoms
    if titles:
        assert detect_system(console) == "gnumach"


def test_every_recorded_console_is_looked_at() -> None:
    marks = test_a_recorded_console.pytestmark  # type: ignore[attr-defined]
    names = {case[0] for case in marks[0].args[1]}
    assert {file.name for file in RECORDED.iterdir()} == {f"gnumach-{n}.log" for n in names}
