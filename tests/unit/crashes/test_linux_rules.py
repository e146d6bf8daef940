# SPDX-License-Identifier: BSD-2-Clause
"""Every Linux rule on what the kernel prints for it."""

import pytest

from harness.crashes import parse_console
from harness.crashes.rules import linux

from .consoles import BOOT, stamped
from .linux_goldens import GOLDENS, Golden


@pytest.mark.parametrize("golden", GOLDENS, ids=lambda golden: f"{golden.rule}: {golden.title}")
@pytest.mark.parametrize("context", [None, "T314"])
def test_golden(golden: Golden, context: str | None) -> None:
    console = (
        stamped(BOOT, 0.0)
        + stamped(golden.lines, context=context)
        + stamped(["systemd[1]: Started Daily apt activities."], 60.0, context)
    )
    report = parse_console(console, "linux")[0]
    assert (report.title, report.kind.value, report.function) == (
        golden.title,
        golden.kind,
        golden.function,
    )
    assert report.rule == golden.rule
    assert report.corrupted is golden.corrupted, report.corrupted_reason
    assert report.complete
    assert console[report.start : report.end].startswith(b"[")
    assert console[: report.start].endswith(b"\n")
    assert console[: report.end].endswith(b"\n")


def test_every_rule_has_a_golden() -> None:
    without = {rule.name for rule in linux.GRAMMAR.rules} - {golden.rule for golden in GOLDENS}
    assert without == {"reboot"}


def test_a_golden_holds_one_report() -> None:
    several = {
        golden.title: [report.title for report in reports]
        for golden in GOLDENS
        if len(reports := parse_console(stamped(golden.lines), "linux")) != 1
    }
    assert several == {
        "BUG: Dentry still in use in unmount": [
            "BUG: Dentry still in use in unmount",
            "WARNING in umount_check",
        ]
    }


@pytest.mark.parametrize(
    "line",
    [
        "WARNING: the mand mount option is being deprecated and will be removed in v5.15!",
        "WARNING: fbcon: Driver 'toydrmfb' missed to adjust virtual screen size (0x0 vs. 128x16)",
        "EXT4-fs (vda): INFO: recovery required on readonly filesystem",
        "INFO: lockdep is turned off.",
        "toy: seq fatal error: cannot create timer (-22)",
        "Out of memory: Killed process 314 (race) total-vm:1024kB",
        "traps: race[314] general protection fault ip:401000 sp:7ffc0 error:0 in race[400000]",
        "Speculative Return Stack Overflow: WARNING: kernel not compiled with CPU_SRSO.",
    ],
)
def test_harmless_line(line: str) -> None:
    assert parse_console(stamped([line]), "linux") == []


@pytest.mark.parametrize(
    "line",
    [
        "WARNING: clock skew detected!",
        "BUG: this program has one",
        "panic: runtime error: index out of range",
        "race: race.c:63: main: Assertion `x' failed.",
    ],
)
def test_what_programs_print_is_no_report(line: str) -> None:
    assert parse_console(f"{line}\n".encode(), "linux") == []


def test_second_boot_is_a_reboot() -> None:
    once = stamped(BOOT, 0.0) + stamped(["systemd[1]: Hello"], 5.0)
    assert parse_console(once, "linux") == []
    reports = parse_console(once + stamped(BOOT, 0.0), "linux")
    assert [report.title for report in reports] == ["unexpected kernel reboot"]
    assert reports[0].start == len(once)


def test_call_that_the_compiler_cloned() -> None:
    lines = [
        line.replace("toy_walk+", "toy_walk.constprop.0.isra.2+")
        for golden in GOLDENS
        if golden.rule == "general-protection"
        for line in golden.lines
    ]
    assert parse_console(stamped(lines), "linux")[0].function == "toy_walk"


def test_functions_that_a_symbolizer_added_are_not_blamed() -> None:
    golden = next(golden for golden in GOLDENS if golden.rule == "hung-task")
    at = next(index for index, line in enumerate(golden.lines) if "toy_walk" in line)
    inlined = " toy_lock drivers/toy/toy.h:31 [inline]"
    console = stamped([*golden.lines[:at], inlined, *golden.lines[at:]])
    report = parse_console(console, "linux")[0]
    assert report.function == "toy_walk"
    frame = next(frame for frame in report.frames if frame.inlined)
    assert (frame.function, frame.file, frame.line) == ("toy_lock", "drivers/toy/toy.h", 31)


def test_system_call_wrappers_have_alternative_titles() -> None:
    golden = next(golden for golden in GOLDENS if golden.rule == "rcu-stall")
    lines = [line for line in golden.lines if "toy_ioctl" not in line and "vfs_ioctl" not in line]
    report = parse_console(stamped(lines), "linux")[0]
    assert report.title == "INFO: rcu detected stall in sys_ioctl"
    assert "stall in __x64_sys_ioctl" in report.alt_titles
