# SPDX-License-Identifier: BSD-2-Clause
"""FreeBSD's and GNU Mach's rules on what the kernels print for them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.crashes import detect_system, parse_console
from harness.crashes.rules import freebsd, gnumach

from .linux_goldens import Golden


def _trace(*functions: str) -> list[str]:
    return [
        "cpuid = 1",
        "time = 1625849194",
        "KDB: stack backtrace:",
        *(
            f"{name}() at {name}+0x{index + 16:x}/frame 0xfffffe00998907d0"
            for index, name in enumerate(
                ("db_trace_self_wrapper", "vpanic", "panic", *functions, "fork_trampoline")
            )
        ),
        "--- syscall (0, FreeBSD ELF64, syscall), rip = 0x45c3ca, rsp = 0x7fffdffdcf88 ---",
        "KDB: enter: panic",
        "[ thread pid 794 tid 100167 ]",
        "Stopped at      kdb_enter+0x37: movq    $0,0x10b2a1e(%rip)",
    ]


def _trap(number: int, what: str, *functions: str) -> list[str]:
    return [
        f"Fatal trap {number}: {what} while in kernel mode",
        "cpuid = 0; apic id = 00",
        "fault virtual address   = 0x18",
        "instruction pointer     = 0x20:0xffffffff812beb87",
        "current process         = 314 (race)",
        "trap number             = 12",
        f"panic: {what}",
        *_trace("trap_fatal", "trap_pfault", "trap", "calltrap", *functions),
    ]


FREEBSD = (
    Golden("fatal-trap", _trap(12, "page fault", "toy_walk", "toy_ioctl"),
           "Fatal trap NUM: page fault in toy_walk", "trap", "toy_walk"),
    Golden("fatal-trap", _trap(9, "general protection fault", "__mtx_lock_flags", "toy_ioctl"),
           "Fatal trap NUM: general protection fault while in kernel mode in toy_ioctl", "trap",
           "toy_ioctl"),
    Golden("fatal-double-fault",
           ["Fatal double fault", "rip = 0xffffffff80c5e9d3", "rsp = 0xfffffe0015000000",
            "panic: double fault", *_trace("dblfault_handler", "toy_recurse")],
           "Fatal double fault in toy_recurse", "double-fault", "toy_recurse"),
    Golden("fatal-abort",
           ["Fatal data abort:", "  x0: ffffa00000a3c010", "  far: 0000000000000010",
            "panic: vm_fault failed: ffff0000004c5a10 error 1",
            *_trace("data_abort", "handle_el1h_sync", "toy_walk")],
           "Fatal data abort in toy_walk", "trap", "toy_walk"),
    Golden("fatal-kernel-trap",
           ["fatal kernel trap:", "   exception       = 0x300 (data storage interrupt)",
            "   virtual address = 0x10", "   srr0            = 0xc0000000008b4c10",
            "panic: data storage interrupt trap", "KDB: stack backtrace:",
            "0xe000000080e06540: at kdb_backtrace+0x5c", "0xe000000080e06650: at vpanic+0x1a8",
            "0xe000000080e06700: at panic+0x34", "0xe000000080e06740: at trap+0x2ac",
            "0xe000000080e068f0: at powerpc_interrupt+0x1cc",
            "0xe000000080e06980: at toy_walk+0x44"],
           "fatal kernel trap: data storage interrupt in toy_walk", "trap", "toy_walk"),
    Golden("assertion",
           ["panic: Assertion m->valid == VM_PAGE_BITS_ALL failed at "
            "/usr/src/sys/vm/vm_object.c:1712", *_trace("vm_object_collapse", "vm_fault")],
           "panic: Assertion m->valid == VM_PAGE_BITS_ALL failed at sys/vm/vm_object.c:LINE",
           "assertion", "vm_object_collapse"),
    # of this harness's own guest: failpoints/freebsd-cow-valid, arm "released"
    Golden("freeing-mapped-page",
           ["panic: freeing mapped page 0xfffffe0000073db8", "cpuid = 1", "time = 1795275429",
            "KDB: stack backtrace:",
            "db_trace_self_wrapper() at db_trace_self_wrapper+0x2b/frame 0xfffffe0041db6ba0",
            "vpanic() at vpanic+0x151/frame 0xfffffe0041db6bf0",
            "panic() at panic+0x43/frame 0xfffffe0041db6c50",
            "vm_object_collapse() at vm_object_collapse+0xb70/frame 0xfffffe0041db6cd0",
            "vm_object_deallocate() at vm_object_deallocate+0x332/frame 0xfffffe0041db6d00",
            "vm_map_process_deferred() at vm_map_process_deferred+0xab/frame 0xfffffe0041db6d20",
            "vm_map_remove() at vm_map_remove+0xc9/frame 0xfffffe0041db6d50",
            "vmspace_exit() at vmspace_exit+0xa9/frame 0xfffffe0041db6d80",
            "exit1() at exit1+0x528/frame 0xfffffe0041db6df0",
            "sys_sys_exit() at sys_sys_exit+0xd/frame 0xfffffe0041db6e00",
            "amd64_syscall() at amd64_syscall+0xfb/frame 0xfffffe0041db6f30",
            "fast_syscall_common() at fast_syscall_common+0xf8/frame 0xfffffe0041db6f30",
            "--- syscall (1, FreeBSD ELF64, exit), rip = 0x2076c7, rsp = 0x820b759e8, "
            "rbp = 0x820b759f0 ---",
            "Uptime: 15s", "Rebooting..."],
           "panic: freeing mapped page", "assertion", "vm_object_collapse"),
    # the same race on 10.1-RELEASE itself, with the fail points of failpoints/freebsd-collapse
    Golden("freeing-mapped-page",
           ["panic: freeing mapped page 0xfffff8000fabd928", "cpuid = 1", "KDB: stack backtrace:",
            "db_trace_self_wrapper() at db_trace_self_wrapper+0x2b/frame 0xfffffe00003e87f0",
            "vpanic() at vpanic+0x104/frame 0xfffffe00003e8830",
            "kassert_panic() at kassert_panic+0x114/frame 0xfffffe00003e88b0",
            "vm_object_backing_scan() at vm_object_backing_scan+0x58a/frame 0xfffffe00003e8920",
            "vm_object_collapse() at vm_object_collapse+0x168/frame 0xfffffe00003e8970",
            "vm_object_deallocate() at vm_object_deallocate+0x45d/frame 0xfffffe00003e89d0",
            "Xfast_syscall() at Xfast_syscall+0xf7/frame 0xfffffe00003e8bf0",
            "--- syscall (1, FreeBSD ELF64, sys_sys_exit), rip = 0x70007b17, "
            "rsp = 0x7fffffffead8, rbp = 0x7fffffffeae0 ---"],
           "panic: freeing mapped page", "assertion", "vm_object_backing_scan"),
    Golden("freeing-mapped-page",
           ["panic: vm_page_free_prep: freeing mapped page 0xfffffe0003bd6e00",
            *_trace("vm_page_free_prep", "vm_page_free_toq", "vm_object_terminate")],
           "panic: vm_page_free_prep: freeing mapped page", "assertion", "vm_page_free_prep"),
    Golden("panic",
           ["panic: toy_put: count 3 of toy 0xfffff80003bd6e00 went negative",
            *_trace("toy_put", "toy_ioctl")],
           "panic: toy_put: count NUM of toy ADDR went negative", "panic", "toy_put"),
    Golden("panic",
           ["login: panic: mutex toy not owned at /usr/src/sys/dev/toy/toy.c:314",
            *_trace("__mtx_assert", "toy_walk")],
           "panic: mutex toy not owned at sys/dev/toy/toy.c:LINE", "panic", "toy_walk"),
    Golden("panic", ["panic: sx lock still held", *_trace("sx_destroy", "toy_detach")],
           "panic: sx lock still held in toy_detach", "panic", "toy_detach"),
    Golden("panic",
           ["panic: ASan: Invalid access, 8-byte read at 0xfffffe0057414be0, MallocRedZone(fb)",
            *_trace("__asan_load8_noabort", "toy_walk")],
           "panic: ASan: Invalid access, NUM-byte read in toy_walk", "panic", "toy_walk"),
    Golden("lock-order-reversal",
           ["lock order reversal:", " 1st 0xfffff80003bd6e00 toy (toy, sx) @ toy.c:314",
            " 2nd 0xfffff80003bd6e50 ring (ring, sx) @ toy.c:159", "stack backtrace:",
            "#0 0xffffffff80c5e9d3 at witness_debugger+0x73",
            "#1 0xffffffff80c5e72d at witness_checkorder+0xe0d",
            "#2 0xffffffff80bf4b52 at _sx_xlock+0x62", "#3 0xffffffff82a21f48 at toy_walk+0x148"],
           "lock order reversal in toy_walk", "lockdep", "toy_walk"),
    Golden("locks-held",
           ['Sleeping on "toywait" with the following non-sleepable locks held:',
            "exclusive sleep mutex toy (toy) r = 0 (0xfffff80003bd6e00) locked @ toy.c:314",
            "stack backtrace:", "#0 0xffffffff80c5e9d3 at witness_debugger+0x73",
            "#1 0xffffffff80c60a4f at witness_warn+0x3ef", "#2 0xffffffff80c0b5a3 at _sleep+0x53",
            "#3 0xffffffff82a21f48 at toy_wait+0x48"],
           "witness: sleeping with non-sleepable locks held in toy_wait", "lockdep", "toy_wait"),
    Golden("userret-locks",
           ["userret: returning with the following locks held:",
            "exclusive sleep mutex toy (toy) r = 0 (0xfffff80003bd6e00) locked @ toy.c:314",
            "stack backtrace:", "#0 0xffffffff80c5e9d3 at witness_debugger+0x73",
            "#1 0xffffffff80c5e9e3 at userret+0x73"],
           "witness: returning to user mode with locks held in userret", "lockdep", "userret"),
    Golden("ddb",
           ["Stopped at      toy_breakpoint+0x12:  int3"],
           "DDB: stopped in toy_breakpoint", "ddb", "toy_breakpoint"),
)  # fmt: skip

GNUMACH = (
    Golden("assertion",
           ["{cpu1} ../vm/vm_map.c:1893: vm_map_pageable_scan: Assertion `entry->wired_count > 0' "
            "failed.panic {cpu1} ../kern/debug.c:69: Debugger: Debugger invoked, but there isn't "
            "one!"],
           "assertion `entry->wired_count > 0' failed in vm_map_pageable_scan", "assertion",
           "vm_map_pageable_scan"),
    Golden("assertion",
           ["{cpu0} ../kern/slab.c:900: kmem_cache_free: Assertion `!kmem_slab_",
            "Stopped at  x+1"],
           "assertion failed in kmem_cache_free", "assertion", "kmem_cache_free", corrupted=True),
    Golden("assertion-without-processor",
           ["../vm/vm_map.c:1893: vm_map_pageable_scan: Assertion `entry' failed."],
           "assertion `entry' failed in vm_map_pageable_scan", "assertion", "vm_map_pageable_scan"),
    Golden("kernel-trap",
           ["Kernel Page fault trap, eip 0xc1034bfc, code 0, cr2 18",
            "kernel trap, type 14, code = 0", "EAX c0ffee00 EBX 00000000 ECX 00000000 EDX 00000000",
            "panic {cpu0} ../i386/i386/trap.c:328: kernel_trap: trap"],
           "Kernel Page fault", "trap", None),
    Golden("kernel-trap",
           ["Kernel Page fault trap, eip 0xc1034bfc, code 0, cr2 18",
            "Stopped at  vm_map_lookup+0x1c: movl 0x18(%eax),%eax",
            "vm_map_lookup(c0ffee00,0,0)", "vm_fault(c0ffee00,1000,1)+0x1c"],
           "Kernel Page fault in vm_map_lookup", "trap", "vm_map_lookup"),
    Golden("kernel-page-fault",
           ["kernel page fault at 00000018:", "EAX c0ffee00 EBX 00000000",
            "panic {cpu0} ../i386/i386/trap.c:200: kernel_trap: kernel thread accessed user "
            "space!"],
           "Kernel Page fault", "trap", None),
    Golden("user-trap",
           ["user trap, type 19, code = 0", "EAX c0ffee00 EBX 00000000",
            "panic {cpu0} ../i386/i386/trap.c:562: user_trap: trap"],
           "user trap", "trap", None),
    Golden("double-fault",
           ["panic {cpu0} ../i386/i386/trap.c:660: handle_double_fault: DOUBLE FAULT! This is "
            "critical"],
           "panic: DOUBLE FAULT!", "double-fault", None),
    Golden("panic",
           ["panic {cpu1} ../kern/slab.c:321: kmem_error: double free of 0xf5a3c010 in cache ipc"],
           "panic: double free of ADDR in cache ipc in kmem_error", "panic", "kmem_error"),
    Golden("panic",
           ["panic {cpu1} ../i386/intel/pmap.c:2194: pmap_enter: pmap_enter(7000a000, 1ffc8000) "
            "falls in physical memory area!"],
           "panic: pmap_enter(NUM, NUM) falls in physical memory area! in pmap_enter", "panic",
           "pmap_enter"),
    Golden("panic",
           ["panic {cpu0} ../i386/intel/pmap.c:1599: pmap_remove_range: "
            "pmap_remove_range(a000-1f000) falls in physical memory area!"],
           "panic: pmap_remove_range(NUM-NUM) falls in physical memory area! in pmap_remove_range",
           "panic", "pmap_remove_range"),
    Golden("panic",
           ["panic {cpu0} ../vm/vm_map.c:2165: vm_map_delete: vm_map_delete(1000-ffff9000) falls "
            "in physical memory area!"],
           "panic: vm_map_delete(NUM-NUM) falls in physical memory area! in vm_map_delete",
           "panic", "vm_map_delete"),
    Golden("panic",
           ["panic {cpu1} ../kern/sched_prim.c:376: state_panic: thread c3ab0e08 has unexpected "
            "state 4c (W N )"],
           "panic: thread NUM has unexpected state NUM (W N ) in state_panic", "panic",
           "state_panic"),
    Golden("panic",
           ["panic {cpu0} ../chips/busses.c:54: cf: cf deadbeef out of range [1000..f5a3c010) of "
            "device fd0 in zone kalloc.8192"],
           "panic: cf NUM out of range [NUM..NUM) of device fd0 in zone kalloc.8192 in cf",
           "panic", "cf"),
    Golden("old-panic", ["panic: zalloc: zone kalloc.8192 exhausted"],
           "panic: zalloc: zone kalloc.8192 exhausted", "panic", None),
    Golden("kdb", ["Stopped at  machine_idle+0x12: ret", "machine_idle(0)+0x12"],
           "kdb: stopped in machine_idle", "ddb", "machine_idle"),
)  # fmt: skip

CASES = [("freebsd", golden) for golden in FREEBSD] + [("gnumach", golden) for golden in GNUMACH]


@pytest.mark.parametrize(("system", "golden"), CASES, ids=lambda value: str(value)[:60])
def test_golden(system: str, golden: Golden) -> None:
    console = ("Mounting local file systems.\n" + "\n".join(golden.lines) + "\n").encode()
    report = parse_console(console, system)[0]
    assert (report.title, report.kind.value, report.function) == (
        golden.title,
        golden.kind,
        golden.function,
    )
    assert report.rule == golden.rule
    assert report.corrupted is golden.corrupted, report.corrupted_reason
    assert len(parse_console(console, system)) == 1


@pytest.mark.parametrize(("system", "golden"), CASES, ids=lambda value: str(value)[:60])
def test_system_is_detected(system: str, golden: Golden) -> None:
    if golden.rule in ("kernel-page-fault", "user-trap", "old-panic", "kdb"):
        boot = "GNU Mach 1.8\n"
    else:
        boot = ""
    console = (boot + "\n".join(golden.lines) + "\n").encode()
    assert detect_system(console) == system


@pytest.mark.parametrize(
    ("grammar", "goldens"), [(freebsd.GRAMMAR, FREEBSD), (gnumach.GRAMMAR, GNUMACH)]
)
def test_every_rule_has_a_golden(grammar: object, goldens: tuple[Golden, ...]) -> None:
    names = {rule.name for rule in grammar.rules}  # type: ignore[attr-defined]
    assert names - {golden.rule for golden in goldens} == {"reboot"}


_ADDRESSES = st.integers(1 << 9, (1 << 61) - 1).map(lambda n: n * 8)


@given(_ADDRESSES, _ADDRESSES)
def test_mach_s_addresses_without_0x_are_not_in_titles(start: int, end: int) -> None:
    line = (
        "panic {cpu0} ../vm/vm_map.c:2165: vm_map_delete: "
        f"vm_map_delete({start:x}-{end:x}) falls in physical memory area!\n"
    )
    (report,) = parse_console(line.encode(), "gnumach")
    assert report.title == (
        "panic: vm_map_delete(NUM-NUM) falls in physical memory area! in vm_map_delete"
    )


def test_freebsd_traces_differ_by_architecture() -> None:
    panic = "panic: toy died\ncpuid = 1\nKDB: stack backtrace:\n"
    amd64 = "#0 0xffffffff80aada97 at kdb_backtrace+0x67\n#1 0xffffffff82a21f48 at toy_walk+0x148\n"
    arm64 = "kdb_backtrace() at kdb_backtrace+0x67\ntoy_walk() at toy_walk+0x148\n"
    ppc64 = "0xe000000080e06540: at kdb_backtrace+0x5c\n0xe000000080e06980: at toy_walk+0x44\n"
    for trace in (amd64, arm64, ppc64):
        report = parse_console((panic + trace + "Uptime: 3s\n").encode(), "freebsd")[0]
        assert [frame.function for frame in report.frames] == ["kdb_backtrace", "toy_walk"]
        assert report.function == "toy_walk"
        assert report.complete


def test_freebsd_second_boot_is_a_reboot() -> None:
    boot = b"Copyright (c) 1992-2023 The FreeBSD Project.\nFreeBSD 14.0-RELEASE GENERIC amd64\n"
    assert parse_console(boot, "freebsd") == []
    assert parse_console(boot + boot, "freebsd")[0].title == "unexpected kernel reboot"
