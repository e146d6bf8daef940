# SPDX-License-Identifier: BSD-2-Clause
"""What FreeBSD prints when it crashes (amd64, arm64, powerpc64).

The kernel source that prints a format is named beside it. A panic's text is free: what differs from
run to run is taken out by the substitutions; a few texts that carry nothing but numbers have titles
of their own. docs/crashes.md says how to add a rule.
"""

from harness.crashes.report import Kind
from harness.crashes.rule import Form, Grammar, Rule

_FUNCTION = r"(?P<function>[A-Za-z_.][\w.$]{0,200})"

GENERIC = (
    # kern/subr_kdb.c, ddb, kern/kern_shutdown.c, {amd64,arm64,powerpc}/trap.c, their assembly
    r"^(?:db_\w+|kdb_\w+|v?panic|_*stack_save\w*|kassert_panic|trap\w*|calltrap\w*|alltraps\w*"
    r"|do_el1h_sync|do_el0_sync|handle_el\w+|data_abort|align_abort|unhandled_trap|printtrap"
    r"|dblfault_handler|Xdblfault|fork_(?:exit|trampoline)|ithread_loop|\w+_syscall"
    r"|fast_syscall\w*|svc_handler|sys_call|powerpc_interrupt|k_trap|generictrap|mi_startup|begin"
    # kern/kern_{mutex,rwlock,sx,rmlock,lock}.c, kern/subr_witness.c, kern/kern_synch.c
    r"|_*(?:mtx|thread_lock|rw|sx|rm|lockmgr|lock)_(?:\w+_)?\w*lock\w*|_*(?:mtx|rw|sx|rm)_\w+"
    r"|_*lockmgr\w*|lock_(?:mtx|rw|sx|rm|spin|delay)\w*|(?:un)?lock_\w+|witness_\w+|_*sleep\w*"
    r"|_cv_\w+|turnstile_\w+|sleepq_\w+|mi_switch|sched_switch|critical_exit|epoch_\w+"
    # vm/uma_core.c, kern/kern_malloc.c, libkern, sys/refcount.h, sanitizers
    r"|uma_\w+|z(?:one_\w+|free\w*|alloc\w*)|malloc\w*|free|realloc\w*|contig(?:malloc|free)\w*"
    r"|mtrash_\w+|trash_\w+|cache_\w+|bucket_\w+|keg_\w+|slab_\w+|_*refcount_\w+|_*k?asan_\w+"
    r"|_*k?msan_\w+|kcsan_\w+|_*sanitizer_\w+|mem(?:cpy|set|move|cmp)\w*|b(?:copy|zero|cmp)"
    r"|copy(?:in|out)\w*|atomic_\w+|knlist_\w+|vassert_\w+|assert_\w+)$"
)

_PATHS = r"(?:/\S{0,200})?/(?=sys/)"

PANICS = (
    # What would lose its meaning with its numbers.
    Form("panic: sbflush_internal: residual data", needs=(r"panic: sbflush_internal: ccc ",),
         near=1, stack_needed=False),
    Form("panic: sctp: no chunks on the queues", near=1, stack_needed=False,
         needs=(r"panic: No chunks on the queues for sid",)),
    # What names nothing of its own: the caller does.
    Form("panic: {text} in {function}", near=1,
         needs=(r"panic: (?P<text>(?:sx|rw|rm|mutex|lockmgr) lock still held)",)),
    Form("panic: {text} in {function}", near=1, keep=r"^str\w+$|^mem\w+$",
         needs=(r"panic: (?P<text>[AM]San: [\w ]{1,60}(?:, \d{1,6}-byte (?:read|write))?)",)),
    Form("panic: {text} at {file}:LINE", near=1, stack_needed=False,
         needs=(rf"panic: (?P<text>.{{1,300}}?)\s(?:@|at) {_PATHS}(?P<file>sys/\S{{1,200}}?)"
                r":\d{1,6}\s*$",)),
    Form("panic: {text}", near=1, stack_needed=False, needs=(r"panic: (?P<text>.*\S)",)),
)  # fmt: skip

RULES = (
    Rule(
        "fatal-trap", Kind.TRAP, "Fatal trap ",
        # amd64/amd64/trap.c: trap_fatal()
        r"Fatal trap \d{1,3}: (?P<what>[a-z][\w /()-]{2,80}?)(?P<mode> while in \w+ mode)?\s*$",
        (
            Form("Fatal trap NUM: {what} in {function}", near=1, needs=(r"page fault while",)),
            Form("Fatal trap NUM: {what}{mode} in {function}"),
        ),
        fatal=True,
    ),
    Rule(
        "fatal-double-fault", Kind.DOUBLE_FAULT, "Fatal double fault",
        # amd64/amd64/trap.c: dblfault_handler()
        r"Fatal double fault",
        (Form("Fatal double fault in {function}"),),
        fatal=True,
    ),
    Rule(
        "fatal-abort", Kind.TRAP, "Fatal ",
        # arm64/arm64/trap.c: data_abort(), external_abort()
        r"Fatal (?P<what>data abort|external abort|alignment)",
        (Form("Fatal {what} in {function}"),),
        fatal=True,
    ),
    Rule(
        "fatal-kernel-trap", Kind.TRAP, "fatal kernel trap",
        # powerpc/powerpc/trap.c: printtrap(), then `exception = 0x300 (data storage interrupt)`
        r"fatal kernel trap:",
        (
            Form("fatal kernel trap: {what} in {function}", near=8,
                 needs=(r"exception\s{1,12}= 0x[0-9a-f]{1,8} \((?P<what>[^)]{1,60})\)",)),
            Form("fatal kernel trap in {function}"),
        ),
        fatal=True,
    ),
    Rule(
        "assertion", Kind.ASSERTION, "ssertion ",
        # sys/sys/systm.h: MPASS()
        r"panic: Assertion ",
        (
            Form("panic: Assertion {expression} failed at {file}:LINE", near=1, stack_needed=False,
                 needs=(rf"Assertion (?P<expression>.{{1,300}}?) failed at {_PATHS}"
                        r"(?P<file>sys/\S{1,200}?):\d{1,6}",)),
            Form("panic: {text}", near=1, stack_needed=False, needs=(r"panic: (?P<text>.*\S)",)),
        ),
        fatal=True,
    ),
    Rule(
        "freeing-mapped-page", Kind.ASSERTION, "freeing mapped page",
        # vm/vm_page.c: vm_page_free_prep(), vm_page_free_toq() in old kernels
        r"panic: (?:(?P<where>\w{1,60}): )?freeing mapped page",
        (
            Form("panic: {where}: freeing mapped page", near=1, stack_needed=False,
                 needs=(r"panic: \w{1,60}: freeing mapped page",)),
            Form("panic: freeing mapped page", stack_needed=False),
        ),
        fatal=True,
    ),
    Rule(
        "panic", Kind.PANIC, "panic: ",
        # kern/kern_shutdown.c: vpanic(); an INVARIANTS kernel's KASSERTs look the same
        r"(?:^|[^\w.-]\s?)panic: (?!runtime error|errors|kern)",
        PANICS,
        fatal=True,
    ),
    Rule(
        "lock-order-reversal", Kind.LOCKDEP, "lock order reversal",
        # kern/subr_witness.c: witness_checkorder()
        r"^lock order reversal(?::| )",
        (Form("lock order reversal in {function}"),),
    ),
    Rule(
        "locks-held", Kind.LOCKDEP, "locks held",
        # kern/subr_witness.c: witness_warn()
        r"(?:Sleeping on|Kernel page fault with|.{1,60} with) (?:\"[^\"]{1,64}\" with )?the"
        r" following non-sleepable locks held",
        (
            Form("witness: sleeping with non-sleepable locks held in {function}", near=1,
                 needs=(r"Sleeping on",)),
            Form("witness: page fault with non-sleepable locks held in {function}", near=1,
                 needs=(r"page fault",)),
            Form("witness: non-sleepable locks held in {function}"),
        ),
    ),
    Rule(
        "userret-locks", Kind.LOCKDEP, "returning with the following",
        # kern/subr_trap.c: userret()
        r"returning with the following .{0,20}locks held",
        (Form("witness: returning to user mode with locks held in {function}"),),
    ),
    Rule(
        "ddb", Kind.DDB, "Stopped at ",
        # ddb/db_trap.c: db_trap(), when nothing said why
        r"^Stopped at\s",
        (Form("DDB: stopped in {function}", stack_needed=False),),
        fatal=True,
    ),
    Rule(
        "reboot", Kind.REBOOT, "The FreeBSD Project",
        # kern/init_main.c: the copyright line, when a kernel had been running before
        r"^Copyright \(c\) 1992-\d{4} The FreeBSD Project",
        (Form("unexpected kernel reboot", stack_needed=False),),
        fatal=True, whole=True, after_boot=True,
    ),
)  # fmt: skip

GRAMMAR = Grammar(
    system="freebsd",
    rules=RULES,
    prefix=(
        # syslog's priority and the time that kern.msgbuf_show_timestamp adds
        r"(?:<\d{1,3}>)?(?:\[(?P<seconds>\d{1,10}(?:\.\d{1,6})?)\] )?(?P<context>(?!))?"
    ),
    body=(
        r"\s{0,20}(?:#\d{1,3} |[\w.$]{1,120}\(\) at |0x[0-9a-f]{8,16}: at |---|KDB: |cpuid = "
        r"|time = |panic: |Stopped at|\[ thread|[\w /-]{1,40}\s{0,30}= |= |x\d{1,2}: "
        r"|(?:esr|far|elr|spsr|sp|lr):? |exclusive |shared |\d(?:st|nd|rd) 0x|lock order "
        r"|stack backtrace|fatal kernel trap|virtual address|exception |srr[01] |current msr"
        r"|frame |curthread|pid =|Uptime:|Dumping|Automatic reboot|Rebooting|--> Press|db> )"
    ),
    frames=(
        # kern/subr_stack.c: stack_print_ddb(); ddb's traces of amd64 and arm64, of powerpc64
        (
            " at ",
            rf"\s{{0,8}}(?:#\d{{1,3}}\s{{1,3}})?0x[0-9a-f]{{4,16}}:? at {_FUNCTION}"
            r"(?:\+0x(?P<offset>[0-9a-f]{1,8}))?",
        ),
        (
            " at ",
            rf"\s{{0,8}}[\w.$]{{1,120}}\(\) at {_FUNCTION}\+0x(?P<offset>[0-9a-f]{{1,8}})",
        ),
        ("() at ", rf"\s{{0,8}}{_FUNCTION}\(\) at "),
    ),
    instruction_pointer=rf"Stopped at\s{{1,12}}{_FUNCTION}\+0x(?P<offset>[0-9a-f]{{1,8}})",
    lost_pointer=r"(?!)",
    link_register=r"(?!)",
    headings=r"(?:KDB: )?stack backtrace:",
    sections=r"(?!)",
    elsewhere=r"(?!)",
    ends=r"^Stopped at|^db> |^Uptime: |^Automatic reboot|^--> Press|^Rebooting\.\.\.",
    marks=("Stopped at", "db> ", "Uptime: ", "Automatic reboot", "--> Press", "Rebooting..."),
    absorbed=r"Stopped at|locks held",
    introduced=r"panic: ",
    harmless=r"(?!)",
    generic=GENERIC,
    machinery=r"^(?:db_\w+|kdb_\w+|v?panic|trap\w*|calltrap)$",
    substitutions=(
        (r"\b0x[0-9a-f]+\b|\b[0-9a-f]{16}\b", "ADDR"),
        (r"(?:/[\w.+-]+)+/(?=sys/)", ""),
        (r"(?<=\.c:)\d+\b", "LINE"),
        (r"(?<![\w.])\d+\b", "NUM"),
    ),
    fatal=r"panic: |Fatal |fatal kernel trap",
)
