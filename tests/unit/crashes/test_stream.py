# SPDX-License-Identifier: BSD-2-Clause
"""The stream: any bytes, any chunks, any cut; several CPUs at once; floods; live use."""

import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.crashes import Report, ReportStream, parse_console
from harness.crashes.stream import LINE_LIMIT, REPORT_LINES

from .consoles import BOOT, oops, stack, stamped, warning
from .linux_goldens import GOLDENS, Golden

SYSTEMS = ("linux", "freebsd", "gnumach")
FRAGMENTS = sorted({line for golden in GOLDENS for line in golden.lines})
SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

fragments = st.sampled_from([fragment.encode() for fragment in FRAGMENTS])
pieces = st.one_of(
    st.binary(max_size=40),
    fragments,
    st.sampled_from([b"\n", b"\r\n", b"[   12.345678] ", b"[   12.345678][ T314] ", b"\x1b[1;31m",
                     b"** 314 printk messages dropped ** ", b"<4>", b"\0", b"BUG: ", b"panic: "]),
)  # fmt: skip
consoles = st.lists(pieces, max_size=60).map(b"".join)


def in_chunks(console: bytes, cuts: list[int], system: str) -> list[Report]:
    stream = ReportStream(system)
    reports: list[Report] = []
    last = 0
    for cut in sorted({min(cut, len(console)) for cut in cuts}):
        reports += stream.feed(console[last:cut])
        last = cut
    reports += stream.feed(console[last:])
    return sorted(reports + stream.close(), key=lambda report: report.start)


@SLOW
@given(consoles, st.sampled_from(SYSTEMS))
def test_any_bytes_give_reports_inside_the_console(console: bytes, system: str) -> None:
    for report in parse_console(console, system):
        assert 0 <= report.start < report.end <= len(console)
        assert report.title


@SLOW
@given(consoles, st.lists(st.integers(0, 3000), max_size=12), st.sampled_from(SYSTEMS))
def test_chunks_do_not_matter(console: bytes, cuts: list[int], system: str) -> None:
    assert in_chunks(console, cuts, system) == parse_console(console, system)


def test_byte_by_byte_is_the_same() -> None:
    console = b"".join(stamped(golden.lines) for golden in GOLDENS[:12])
    assert in_chunks(console, list(range(len(console))), "linux") == parse_console(console, "linux")


@pytest.mark.parametrize("golden", GOLDENS[::3], ids=lambda golden: golden.title)
def test_truncation_never_gives_a_wrong_title(golden: Golden) -> None:
    console = stamped(BOOT, 0.0) + stamped(golden.lines) + stamped(["init: done"], 60.0)
    right = {report.title for report in parse_console(console, "linux")}
    for cut in range(len(console)):
        for report in parse_console(console[:cut], "linux"):
            assert not report.complete or report.title in right


@pytest.mark.parametrize("golden", GOLDENS, ids=lambda golden: golden.title)
def test_dressed_consoles_give_the_same_report(golden: Golden) -> None:
    plain = parse_console(stamped(golden.lines), "linux")[0]
    console = stamped(golden.lines, context="T314")
    dressed = {
        "CRLF": console.replace(b"\n", b"\r\n"),
        "carriage returns doubled": console.replace(b"\n", b"\r\r\n"),
        "colours": b"".join(b"\x1b[0;33m" + line + b"\x1b[0m\n" for line in console.splitlines()),
        "syslog's priorities": b"".join(b"<4>" + line + b"\n" for line in console.splitlines()),
        "a login prompt before": b"host login: " + console,
        "a logger's prefix": b"".join(
            b"Sep 23 02:31:17 host kernel: " + line + b"\n" for line in console.splitlines()
        ),
        "bytes that are no text": b"\xff\xfe\x80\n" + console + b"\xc3\x28\n",
    }
    for how, variant in dressed.items():
        found = parse_console(variant, "linux")[0]
        assert (found.title, found.corrupted) == (plain.title, plain.corrupted), how


def test_caller_ids_untangle_interleaved_cpus() -> None:
    one = oops("general protection fault, probably for non-canonical address 0xdffffc0000000002: "
               "0000 [#1] SMP", at="toy_one", trace=("toy_a", "toy_b"))  # fmt: skip
    two = warning("drivers/toy/toy.c:63", "toy_two", ("toy_c", "toy_d"))
    first = stamped(one, context="T1").splitlines(keepends=True)
    second = stamped(two, context="T2").splitlines(keepends=True)
    mixed = b"".join(line for pair in zip(first, second, strict=False) for line in pair) + b"".join(
        first[len(second) :] + second[len(first) :]
    )
    reports = parse_console(mixed, "linux")
    assert {(report.title, report.corrupted) for report in reports} == {
        ("general protection fault in toy_one", False),
        ("WARNING in toy_two", False),
    }
    assert [frame.function for frame in reports[0].frames] == ["toy_one", "toy_a", "toy_b"]


def test_noise_between_the_lines_does_not_matter() -> None:
    lines = warning("drivers/toy/toy.c:63", "toy_walk", ("toy_a", "toy_b"))
    noisy = [part for line in lines for part in (line, "usb 1-1: new high-speed USB device")]
    report = parse_console(stamped(noisy), "linux")[0]
    assert report.title == "WARNING in toy_walk"
    assert not report.corrupted


def test_two_tasks_in_one_report_are_two_cpus() -> None:
    lines = warning("drivers/toy/toy.c:63", "toy_walk", ("toy_a", "toy_b"))
    other = ["CPU: 0 PID: 315 Comm: other Not tainted 6.1.0 #1", *stack("dump_stack", "toy_c")]
    report = parse_console(stamped([*lines[:-3], *other, *lines[-3:]]), "linux")[0]
    assert report.title == "WARNING in corrupted"
    assert report.corrupted_reason == "two CPUs' reports are interleaved"


def test_lost_lines_are_said() -> None:
    lines = warning("drivers/toy/toy.c:63", "toy_walk", ("toy_a", "toy_b"))
    console = stamped([*lines[:4], "** 314 printk messages dropped **", *lines[4:]])
    report = parse_console(console, "linux")[0]
    assert report.corrupted
    assert report.corrupted_reason == "the console lost lines"


def test_panic_that_ends_a_report_is_part_of_it() -> None:
    lines = warning("drivers/toy/toy.c:63", "toy_walk", ("toy_a",))[:-1]
    panic = [
        "Kernel panic - not syncing: kernel: panic_on_warn set ...",
        *stack("dump_stack_lvl", "panic", "__warn", "toy_walk", "toy_a"),
        "Rebooting in 1 seconds..",
    ]
    reports = parse_console(stamped(lines + panic), "linux")
    assert [(report.title, report.fatal) for report in reports] == [("WARNING in toy_walk", True)]


def test_panic_after_an_oops_is_no_second_report() -> None:
    lines = oops("divide error: 0000 [#1] PREEMPT SMP", at="toy_walk", trace=("toy_a",))
    after = ["Kernel panic - not syncing: Fatal exception", "Kernel Offset: disabled"]
    assert len(parse_console(stamped(lines + after), "linux")) == 1
    far = stamped(["usb 1-1: new device"] * 4000)
    assert len(parse_console(stamped(lines) + far + stamped(after), "linux")) == 2
    alone = parse_console(stamped(after), "linux")
    assert [report.title for report in alone] == ["kernel panic: Fatal exception"]


def test_trouble_after_a_stack_is_a_report_of_its_own() -> None:
    lockdep = next(golden for golden in GOLDENS if golden.rule == "recursive-locking")
    bug = next(golden for golden in GOLDENS if golden.rule == "bug-at")
    panic = next(golden for golden in GOLDENS if golden.rule == "panic")
    for second in (bug, panic):
        reports = parse_console(stamped([*lockdep.lines, *second.lines]), "linux")
        assert [report.title for report in reports] == [lockdep.title, second.title]


def test_live_report_is_told_as_soon_as_it_is_out() -> None:
    console = stamped(oops("divide error: 0000 [#1] SMP", at="toy_walk", trace=("toy_a",)))
    stream = ReportStream("linux")
    for line in console.splitlines(keepends=True)[:-1]:
        assert stream.feed(line) == []
    assert stream.pending
    (report,) = stream.feed(console.splitlines(keepends=True)[-1])
    assert report.complete
    assert not stream.pending
    assert stream.close() == []


def test_kernel_that_goes_on_after_a_warning_is_followed() -> None:
    first = stamped(warning("drivers/toy/toy.c:63", "toy_walk", ("toy_a",)), 10.0)
    second = stamped(warning("drivers/toy/toy.c:99", "toy_put", ("toy_b",)), 20.0)
    reports = parse_console(first + stamped(BOOT, 15.0)[: 10 * LINE_LIMIT] + second, "linux")
    assert [report.title for report in reports][:1] == ["WARNING in toy_walk"]
    assert reports[-1].title == "WARNING in toy_put"
    assert not any(report.fatal for report in reports if report.kind.value == "warning")


def test_cut_off_report_says_so() -> None:
    lines = oops("divide error: 0000 [#1] SMP", at="toy_walk", trace=("toy_a", "toy_b"))
    stream = ReportStream("linux")
    assert stream.feed(stamped(lines[:-2])) == []
    (report,) = stream.close()
    assert not report.complete
    assert report.title == "divide error in toy_walk"


def test_memory_is_bounded_by_long_lines_and_endless_reports() -> None:
    stream = ReportStream("linux")
    for _ in range(100):
        assert stream.feed(b"BUG: KASAN: " + b"x" * 100_000) == []
    assert len(stream._rest) <= LINE_LIMIT
    endless = stamped(["BUG: scheduling while atomic: race/314/0x00000002"]) + stamped(
        [" toy_walk+0x10/0x20"] * (3 * REPORT_LINES)
    )
    reports = parse_console(endless, "linux")
    assert reports
    assert max(report.text.count("\n") for report in reports) <= REPORT_LINES


def test_offsets_hold_behind_a_long_line() -> None:
    golden = stamped(GOLDENS[0].lines)
    console = b"y" * 10_000 + b"\n" + golden
    for report in (parse_console(console, "linux")[0], in_chunks(console, [7000], "linux")[0]):
        assert console[report.start : report.end] == golden


def test_one_line_reports_are_told_once() -> None:
    line = "unregister_netdevice: waiting for toy0 to become free. Usage count = 2"
    assert len(parse_console(stamped([line] * 50), "linux")) == 1


def test_report_is_frozen() -> None:
    report = parse_console(stamped(GOLDENS[0].lines), "linux")[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.title = "other"  # type: ignore[misc]


HUNG = (
    b"[  122.000000] INFO: task race:314 blocked for more than 122 seconds.\n"
    b"[  122.000000]       Not tainted 6.1.0 #1\n"
    b"[  122.000000] task:race            state:D stack:0     pid:314   ppid:1      flags:0x0\n"
)
HUNG_STACK = (
    b"[  122.000000] Call Trace:\n"
    b"[  122.000000]  __schedule+0x2f0/0x9a0\n"
    b"[  122.000000]  schedule+0x5e/0xd0\n"
    b"[  122.000000]  toy_hold+0x30/0x60\n"
    b"[  122.000000]  toy_write+0x40/0x90\n"
)


def test_silence_completes_a_report_whose_stack_is_out() -> None:
    stream = ReportStream("linux")
    assert stream.feed(HUNG) == []
    assert stream.flush() == []
    assert stream.pending
    assert stream.feed(HUNG_STACK) == []
    (report,) = stream.flush()
    assert (report.title, report.complete) == ("INFO: task hung in toy_hold", True)
    assert (report.start, report.end) == (0, len(HUNG + HUNG_STACK))
    assert not stream.pending
    assert stream.flush() == stream.close() == []


def test_silence_in_half_a_line_completes_nothing() -> None:
    stream = ReportStream("linux")
    assert stream.feed(HUNG + HUNG_STACK + b"[  122.000000]  ksys_wri") == []
    assert stream.flush() == []
    assert stream.feed(b"te+0x1/0x2\nlogin: ") == []
    (report,) = stream.flush()
    assert report.frames[-1].function == "ksys_write"


# GNU Mach 1.8+git20261028 smp-dbg: its debugger waits at a prompt, which has no end of line
AT_A_PROMPT = (
    b"{cpu1} ../vm/vm_fault.c:709: vm_fault_page: Assertion `!must_be_resident' failed."
    b"Debugger invoked: assertion failure\n"
    b"Kernel Breakpoint trap, eip 0xffffffff81053e16, code 0, cr2 ffffffff9f9b0b70\n"
    b"Stopped\tat  Debugger+0x15:\tTODO\n"
    b"Debugger(...)+0x15\nlog(...)\nvm_fault_page(...)+0x158e\nvm_fault(...)+0x68a\n"
    b"vm_fault_wire(...)+0x75\nsyscall64(...)+0xea\n"
    b">>>>> user space <<<<<\n"
)


def test_a_debuggers_prompt_is_no_half_line() -> None:
    stream = ReportStream("gnumach")
    half = AT_A_PROMPT.index(b"...)+0xea")
    assert stream.feed(AT_A_PROMPT[:half]) == []
    assert stream.flush() == []
    assert stream.feed(AT_A_PROMPT[half:] + b"db{1}> ") == []
    (report,) = stream.flush()
    assert report.title == "assertion `!must_be_resident' failed in vm_fault_page"
    assert [frame.function for frame in report.frames][-4:] == [
        "vm_fault_page",
        "vm_fault",
        "vm_fault_wire",
        "syscall64",
    ]
    assert not stream.pending


def test_lines_after_a_silence_are_no_part_of_what_was_told() -> None:
    stream = ReportStream("linux")
    stream.feed(HUNG + HUNG_STACK)
    assert len(stream.flush()) == 1
    assert stream.feed(b"[  124.000000]  late+0x1/0x2\n") == []
    assert not stream.pending
    stream.feed(HUNG + HUNG_STACK)
    (again,) = stream.flush()
    assert again.start == len(HUNG + HUNG_STACK) + len(b"[  124.000000]  late+0x1/0x2\n")
