# SPDX-License-Identifier: BSD-2-Clause
"""What Linux prints when it crashes (x86, arm64, arm, ppc64, riscv and s390 formats).

Rules are tried in order on every line that has a rule's trigger; the kernel source that prints a
format is named beside it. docs/crashes.md says how to add one. What belongs to a report, and how
stacks look, is in linux_lines.py; which functions are never guilty in linux_functions.py.
"""

from harness.crashes.report import Kind
from harness.crashes.rule import Form, Grammar, Rule, Source
from harness.crashes.rules import linux_lines as lines
from harness.crashes.rules.linux_functions import (
    ALIASES,
    ALLOCATORS,
    ANCHORS,
    BLOCKING,
    GENERIC,
    LOCK_SITES_SKIPPED,
    MACHINERY,
    SLEEPING,
)

_BAD_ACCESS = ("bad-access in {function}",)
_INVALID_FREE = ("invalid-free in {function}",)
_STALL = ("stall in {function}",)
_HANG = ("hang in {function}",)
_OVERFLOW = ("stack-overflow in {function}",)
_SITE_OR_STACK = (Source.LOCK_SITE, Source.STACK)
_ANY = r"."
_RULER = r"^={40,}\s*$"
_OPTIONAL_BRACKET = r"(?:\[ )?"

_PANIC_THAT_FOLLOWS = (
    # kernel/panic.c and the callers that panic after they have reported
    r"Fatal exception|panic_on_\w+ set|panic_on_warn|hung_task: blocked|softlockup: hung"
    r"|RCU Stall|Machine halted|[Hh]ard ?(?:LOCKUP|lockup)|scheduling while atomic|bad mode|BUG!"
    r"|Oops|kernel: panic_on|Aiee, killing interrupt|Attempted to kill (?:init|the idle task)"
)


def _warning(
    where: str, title: str, kind: Kind = Kind.WARNING, reported_by: str = "", skip: str = ""
) -> Form:
    """Return the form of WARNINGs whose opening line `where` matches."""
    return Form(title, needs=(where,), near=1, kind=kind, reported_by=reported_by, skip=skip)


WARNINGS = (
    # What many callers share is named for what it checks; the file tells.
    _warning(r"mm/(?:slab_common|util|slub|slab)\.c:\d+ (?:at )?_*kv?m?alloc",
             "WARNING: kmalloc bug in {function}", reported_by=_ANY),
    _warning(r"mm/vmalloc\.c:\d+ (?:at )?__vmalloc",
             "WARNING: zero-size vmalloc in {function}"),
    _warning(r"(?:lib|include/linux)/refcount\.[ch]:\d+",
             "WARNING: refcount bug in {function}", Kind.REFCOUNT, reported_by=_ANY),
    _warning(r"lib/debugobjects\.c:\d+", "WARNING: ODEBUG bug in {function}"),
    _warning(r"kernel/locking/lockdep\.c:\d+", "WARNING: locking bug in {function}",
             Kind.LOCKDEP, reported_by=_ANY, skip="^lock_sock"),
    _warning(r"drivers/usb/core/urb\.c:\d+ (?:at )?usb_submit_urb",
             "WARNING in {function}/usb_submit_urb", skip="^usb_submit_urb$"),
    _warning(r"lib/kobject\.c:\d+", "WARNING: kobject bug in {function}"),
    _warning(r"fs/proc/generic\.c:\d+ (?:at )?(?:_*proc_register|remove_proc)",
             "WARNING: proc registration bug in {function}"),
    Form("WARNING in {function}"),
)  # fmt: skip

PANICS = (
    Rule(
        "panic-stack-protector", Kind.PANIC, "Kernel panic",
        # kernel/panic.c: __stack_chk_fail()
        r"Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in",
        (
            Form("kernel panic: stack is corrupted in {function}",
                 needs=(rf"corrupted in: {lines.NAME}\+0x",), near=1,
                 sources=(Source.DETAIL, Source.STACK), stack_needed=False),
            Form("kernel panic: stack is corrupted in {function}"),
        ),
        fatal=True,
    ),
    Rule(
        "panic-stack-end", Kind.STACK_OVERFLOW, "Kernel panic",
        # kernel/sched/core.c: schedule_debug(); whoever schedules, the unit of work overflowed
        r"Kernel panic - not syncing: corrupted stack end detected inside scheduler",
        (Form("kernel panic: corrupted stack end in {function}", _OVERFLOW,
              sources=(Source.ANCHOR, Source.STACK)),),
        fatal=True,
    ),
    Rule(
        "panic-oom", Kind.OOM, "Kernel panic",
        # mm/oom_kill.c: out_of_memory(), check_panic_on_oom()
        r"Kernel panic - not syncing: (?P<text>(?:Out of memory|System is deadlocked on memory"
        r"|out of memory).*)",
        (Form("kernel panic: {text}", stack_needed=False),),
        fatal=True,
    ),
    Rule(
        "panic-init", Kind.PANIC, "Kernel panic",
        # kernel/exit.c: do_exit()
        r"Kernel panic - not syncing: Attempted to kill init!",
        (Form("kernel panic: Attempted to kill init!", stack_needed=False),),
        fatal=True, consequence=_PANIC_THAT_FOLLOWS,
    ),
    Rule(
        "panic-root", Kind.PANIC, "Kernel panic",
        # init/do_mounts.c: mount_block_root()
        r"Kernel panic - not syncing: VFS: Unable to mount root fs",
        (Form("kernel panic: VFS: Unable to mount root fs on unknown-block(NUM,NUM)",
              stack_needed=False),),
        fatal=True,
    ),
    Rule(
        "panic", Kind.PANIC, "Kernel panic",
        # kernel/panic.c: panic()
        r"Kernel panic - not syncing: ?(?P<text>panic_on_warn set|.*\S)?",
        (
            # Alone it has lost the report that it ends.
            Form("kernel panic: {text}", near=1, corrupted=True,
                 needs=(rf"not syncing: .{{0,40}}(?:{_PANIC_THAT_FOLLOWS})",)),
            Form("kernel panic: {text}", stack_needed=False),
        ),
        fatal=True, consequence=_PANIC_THAT_FOLLOWS,
    ),
    Rule(
        "bad-mode", Kind.PANIC, "Bad mode in ",
        # arch/arm64/kernel/traps.c: bad_mode()
        r"Bad mode in .{1,60} handler detected",
        (Form("kernel panic: bad mode", stack_needed=False),),
        fatal=True,
    ),
    Rule(
        "trusty", Kind.PANIC, "trusty: ",
        r"trusty: panic .{0,200}ASSERT FAILED",
        (
            Form("trusty: ASSERT FAILED: {text}", stack_needed=False, near=1,
                 needs=(r"ASSERT FAILED at \([^)]{1,200}\): (?P<text>\S.*)",)),
            Form("trusty: ASSERT FAILED:", stack_needed=False),
        ),
        fatal=True,
    ),
)  # fmt: skip

SANITIZERS = (
    Rule(
        "kasan", Kind.KASAN, "BUG: KAS",
        # mm/kasan/report.c: print_error_description(), kasan_report_invalid_free()
        r"BUG: KAS(?:AN|an): (?P<what>[a-z][a-z -]{2,60}?) (?:in|on) ",
        (
            Form("KASAN: invalid-free in {function}", _INVALID_FREE, near=1,
                 needs=(r"KASAN: (?:double-free|invalid-free)",)),
            Form("KASAN: {what} {rw} in {function}", _BAD_ACCESS, near=12,
                 needs=(r"^\s?(?P<rw>Read|Write) (?:of size \d|at addr)",)),
            Form("KASAN: {what} in {function}", _BAD_ACCESS, near=12,
                 needs=(r"^(?:Unknown access|Execute)",)),
            Form("{text}", near=1, needs=(r"BUG: (?P<text>KASAN: .*)",), corrupted=True),
        ),
        ends=_RULER,
    ),
    Rule(
        "kfence", Kind.KFENCE, "BUG: KFENCE",
        # mm/kfence/report.c: kfence_report_error()
        r"BUG: KFENCE: (?P<what>[a-z -]{3,60}?) in ",
        (
            Form("KFENCE: {what} in {function}", _INVALID_FREE, near=1,
                 needs=(r"KFENCE: invalid free",)),
            Form("KFENCE: {what} in {function}", _BAD_ACCESS),
        ),
        ends=_RULER,
    ),
    Rule(
        "kmsan", Kind.KMSAN, "BUG: KMSAN",
        # mm/kmsan/report.c: kmsan_report()
        r"BUG: KMSAN: (?P<what>[a-z -]{3,60}?) in ",
        (
            # What copies out for others leaks theirs.
            Form("KMSAN: {what} in {function}", _BAD_ACCESS, near=1, needs=(r"KMSAN: \S*infoleak",),
                 skip=r"^(?:_*copy_(?:to|page_to|folio_to)_\w+|simple_copy_to_iter|usb_bulk_msg)$"),
            Form("KMSAN: {what} in {function}", _BAD_ACCESS),
        ),
        ends=_RULER,
    ),
    Rule(
        "kcsan", Kind.KCSAN, "BUG: KCSAN",
        # kernel/kcsan/report.c: print_report()
        r"BUG: KCSAN: (?P<what>data-race|assert: race) in ",
        (
            Form("KCSAN: {what} in {function} / {other}", sources=(Source.DETAIL,), near=1,
                 keep=_ANY,
                 needs=(rf"race in {lines.NAME}(?:\+\S{{1,30}})? / (?P<other>[\w.]{{1,100}})",)),
            Form("KCSAN: {what} in {function}", sources=(Source.DETAIL,), near=1, keep=_ANY,
                 needs=(rf"race in {lines.NAME}",)),
        ),
        ends=_RULER,
    ),
    Rule(
        "ubsan", Kind.UBSAN, "UBSAN: ",
        # lib/ubsan.c: ubsan_prologue()
        r"UBSAN: (?P<what>[A-Za-z][\w -]{2,60}?) in ",
        (
            Form("UBSAN: undefined-behaviour in {function}", needs=(r"UBSAN: Undefined",), near=1),
            Form("UBSAN: {what} in {function}", _BAD_ACCESS, near=1,
                 needs=(r"UBSAN: (?:array-index-out-of-bounds|object-size|null-ptr|misaligned)",)),
            Form("UBSAN: {what} in {function}"),
        ),
        ends=rf"{_RULER}|---\[ end trace ",
    ),
    Rule(
        "memory-leak", Kind.MEMORY_LEAK, "memory leak",
        # mm/kmemleak.c: the heading is the user's who read /sys/kernel/debug/kmemleak
        r"BUG: memory leak",
        (Form("memory leak in {function}", generic=ALLOCATORS),),
    ),
)  # fmt: skip

OOPSES = (
    Rule(
        "bug-at", Kind.BUG, "ernel BUG at ",
        # lib/bug.c: report_bug(); the file tells apart what is checked on a caller's behalf
        r"[Kk]ernel BUG at ",
        (
            Form("BUG: corrupted list in {function}", _BAD_ACCESS, near=1,
                 needs=(r"lib/list_debug\.c",), kind=Kind.MEMORY_CORRUPTION),
            Form("BUG: bad usercopy in {function}", near=1, needs=(r"mm/usercopy\.c",)),
            Form("kernel BUG in {function}"),
        ),
        fatal=True,
    ),
    Rule(
        "rust-panic", Kind.PANIC, "rust_kernel: panicked at ",
        # rust/kernel/lib.rs: panic()
        r"rust_kernel: panicked at ",
        (Form("{text} in {function}", near=3,
              needs=(r"^(?P<text>(?!rust_kernel)[A-Za-z`'][a-z`'].{3,150})$",)),),
        fatal=True,
    ),
    Rule(
        "null-pointer", Kind.OOPS, "NULL pointer dereference",
        # arch/x86/mm/fault.c: show_fault_oops(); arch/{arm,arm64,powerpc,riscv}/mm/fault.c
        r"(?:BUG: |[Uu]nable to handle )(?:[Uu]nable to handle )?(?:[Kk]ernel )?"
        r"NULL pointer dereference",
        (Form("BUG: unable to handle kernel NULL pointer dereference in {function}", _BAD_ACCESS,
              pointer_first=True),),
        fatal=True,
    ),
    Rule(
        "user-access", Kind.OOPS, "access to user memory",
        # arch/arm64/mm/fault.c: __do_kernel_fault()
        r"[Uu]nable to handle kernel access to user memory",
        (Form("BUG: unable to handle kernel access to user memory in {function}", _BAD_ACCESS,
              pointer_first=True),),
        fatal=True,
    ),
    Rule(
        "bad-page-fault", Kind.OOPS, "nable to handle ",
        r"[Uu]nable to handle (?:page fault for|kernel (?:paging request|data access|instruction"
        r"|pointer dereference|read|write|execut|unknown|access)|paging request)",
        (Form("BUG: unable to handle kernel paging request in {function}", _BAD_ACCESS,
              pointer_first=True),),
        fatal=True,
    ),
    Rule(
        "unhandled-fault", Kind.OOPS, "Unhandled ",
        # arch/arm/mm/fault.c: do_DataAbort(), do_PrefetchAbort(); arch/arm64/mm/fault.c
        r"Unhandled (?:fault|prefetch abort)(?::| at )",
        (Form("Unhandled fault in {function}", _BAD_ACCESS),),
        fatal=True,
    ),
    Rule(
        "alignment-trap", Kind.OOPS, "Alignment trap",
        # arch/arm/mm/alignment.c: do_alignment()
        r"Alignment trap: not handling instruction",
        (Form("Alignment trap in {function}", sources=(Source.TRACE,)),),
        fatal=True,
    ),
    Rule(
        "general-protection", Kind.OOPS, "general protection",
        # arch/x86/kernel/traps.c: exc_general_protection()
        r"(?:^|: |segment-related )general protection fault(?::|,)",
        (Form("general protection fault in {function}", _BAD_ACCESS, pointer_first=True),),
        fatal=True, unless=r"traps: |ip:[0-9a-f]",
    ),
    Rule(
        "stack-guard-page", Kind.STACK_OVERFLOW, "stack guard page",
        # arch/x86/kernel/traps.c: handle_stack_overflow()
        r"BUG: (?:[\w#-]{1,20} )?stack guard page was hit",
        (Form("BUG: stack guard page was hit in {function}", _OVERFLOW, sources=(Source.TRACE,)),),
        fatal=True,
    ),
    Rule(
        "stack-overflow", Kind.STACK_OVERFLOW, "nsufficient stack space",
        # arch/arm64/kernel/traps.c: handle_bad_stack(); arch/riscv/kernel/traps.c
        r"Insufficient stack space to handle exception",
        (Form("kernel stack overflow in {function}", _OVERFLOW),),
        fatal=True,
    ),
    Rule(
        "early-exception", Kind.TRAP, "PANIC: early exception",
        # arch/x86/mm/extable.c: early_fixup_exception()
        r"PANIC: early exception",
        (Form("PANIC: early exception in {function}", pointer_first=True),),
        fatal=True,
    ),
    Rule(
        "double-fault", Kind.DOUBLE_FAULT, "double fault",
        # arch/x86/kernel/traps.c: exc_double_fault()
        r"PANIC: double fault|(?:^|: )double fault: \d{4}",
        (Form("PANIC: double fault in {function}"),),
        fatal=True,
    ),
    *(
        Rule(
            name.replace(" ", "-"), Kind.TRAP, trigger,
            # arch/x86/kernel/traps.c, arch/x86/include/asm/trapnr.h: `name: error code [#count]`
            rf"(?:^|: )(?:{printed}): [0-9a-f]{{4}} \[#\d",
            (Form(f"{name} in {{function}}", pointer_first=True),),
            fatal=True,
        )
        for name, trigger, printed in (
            ("divide error", "divide", r"divide[ _]error"),
            ("invalid opcode", "invalid opcode", r"invalid opcode"),
            ("stack segment fault", "stack segment", r"stack segment"),
            ("int3", "int3: ", r"int3"),
            ("alignment check", "alignment check", r"alignment check"),
            ("control protection fault", "control protection", r"control protection"),
            ("segment not present", "segment not present", r"segment not present"),
            ("bounds", "bounds: ", r"bounds"),
            ("overflow", "overflow: ", r"overflow"),
        )
    ),
    Rule(
        "cfi", Kind.OOPS, "CFI failure",
        # kernel/cfi.c: report_cfi_failure()
        r"CFI failure (?:at|\()",
        (Form("CFI failure in {function}", reported_by=_ANY),),
        fatal=True,
    ),
    Rule(
        "internal-error", Kind.OOPS, "Internal error: ",
        # arch/arm/kernel/traps.c, arch/arm64/kernel/traps.c: __die()
        r"^Internal error: ",
        (Form("Internal error in {function}"),),
        fatal=True,
    ),
    Rule(
        "oops", Kind.OOPS, "Oops",
        # arch/{powerpc,riscv,s390,mips}/kernel/traps.c: die()
        r"^Oops(?::| - |\[#)",
        (Form("Oops in {function}"),),
        fatal=True,
    ),
)  # fmt: skip

LOCKDEP = (
    # kernel/locking/lockdep.c; before 4.12 the headings were `[ INFO: … ]` and `[ BUG: … ]`
    Rule(
        "circular-locking", Kind.LOCKDEP, "locking dependency detected",
        rf"{_OPTIONAL_BRACKET}(?:WARNING|INFO): possible circular locking dependency detected",
        (Form("possible deadlock in {function}", sources=_SITE_OR_STACK,
              needs=(r"is trying to (?:acquire|lock)",)),),
    ),
    Rule(
        "recursive-locking", Kind.LOCKDEP, "recursive locking detected",
        rf"{_OPTIONAL_BRACKET}(?:WARNING|INFO): possible recursive locking detected",
        (Form("possible deadlock in {function}", sources=_SITE_OR_STACK,
              needs=(r"is trying to (?:acquire|lock)",)),),
    ),
    Rule(
        "irq-lock-inversion", Kind.LOCKDEP, "lock inversion dependency detected",
        rf"{_OPTIONAL_BRACKET}(?:WARNING|INFO): possible irq lock inversion dependency detected",
        (Form("possible deadlock in {function}", sources=_SITE_OR_STACK,
              needs=(r"just changed the state of lock",)),),
    ),
    Rule(
        "irq-lock-order", Kind.LOCKDEP, "lock order detected",
        r"[A-Z-]{3,20}-safe -> [A-Z-]{3,20}-unsafe lock order detected",
        (Form("possible deadlock in {function}", needs=(r"which became \S+-irq-safe at",),
              sources=(Source.SECTION, Source.STACK), section=r"which became \S+-irq-safe at",
              stack_needed=False),),
    ),
    Rule(
        "inconsistent-lock-state", Kind.LOCKDEP, "inconsistent lock state",
        rf"{_OPTIONAL_BRACKET}(?:WARNING|INFO): inconsistent lock state",
        (Form("inconsistent lock state in {function}", sources=_SITE_OR_STACK,
              needs=(r"\] takes:",)),),
    ),
    Rule(
        "rcu-usage", Kind.LOCKDEP, "suspicious RCU usage",
        # lockdep_rcu_suspicious()
        rf"{_OPTIONAL_BRACKET}(?P<level>WARNING|INFO): suspicious RCU usage",
        (Form("{level}: suspicious RCU usage in {function}", near=5,
              reported_by=r"_*lockdep_rcu_suspicious$|_*might_(?:sleep|resched)|dump_stack",
              needs=(r"^\S{1,200}:\d{1,6} \S",)),),
    ),
    *(
        Rule(
            name, Kind.LOCKDEP, heading.replace("[Nn]", ""),
            rf"{_OPTIONAL_BRACKET}(?P<level>WARNING|BUG|INFO): (?:\S{{1,64}} )?{heading}",
            (Form(f"{{level}}: {title} in {{function}}", sources=sources, needs=needs,
                  stack_needed=stack_needed),),
        )
        for name, heading, title, sources, needs, stack_needed in (
            # print_unlock_imbalance_bug(), print_lock_contention_bug(), print_held_locks_bug(),
            # lockdep_sys_exit(), print_freed_lock_bug(), print_lock_nested_lock_not_held()
            ("unlock-balance", "bad unlock balance detected", "bad unlock balance",
             (Source.STACK,), (r"is trying to release lock",), True),
            ("contention", "bad contention detected", "bad contention",
             (Source.STACK,), (r"is trying to contend lock",), True),
            ("locks-held-at-exit", "lock held at task exit time", "lock held at task exit time",
             _SITE_OR_STACK, (), True),
            ("locks-held-at-sleep", "still has locks held", "still has locks held",
             _SITE_OR_STACK, (), True),
            ("locks-held-in-user-space", "lock held when returning to user space",
             "lock held when returning to user space", _SITE_OR_STACK, (), False),
            ("held-lock-freed", "held lock freed", "held lock freed", _SITE_OR_STACK, (), True),
            ("nested-lock", "[Nn]ested lock was not taken", "nested lock was not taken",
             (Source.STACK,), (), True),
        )
    ),
    Rule(
        "invalid-wait-context", Kind.LOCKDEP, "nvalid wait context",
        # print_lock_invalid_wait_context()
        rf"{_OPTIONAL_BRACKET}(?:BUG|WARNING): [Ii]nvalid wait context",
        (Form("WARNING: locking bug in {function}", sources=_SITE_OR_STACK,
              skip="^__might_fault$|^lock_sock"),),
    ),
    Rule(
        "non-static-key", Kind.LOCKDEP, "trying to register non-static key",
        # register_lock_class()
        r"INFO: trying to register non-static key",
        (Form("INFO: trying to register non-static key in {function}", skip="^lock_sock"),),
    ),
    Rule(
        "workqueue-leak", Kind.LOCKDEP, "workqueue leaked",
        # kernel/workqueue.c: process_one_work()
        r"(?P<text>BUG: workqueue leaked (?:lock|atomic).*\S)",
        (
            Form("BUG: workqueue leaked lock or atomic in {function}", sources=(Source.DETAIL,),
                 needs=(rf"last function: {lines.NAME}",), keep=_ANY, stack_needed=False),
            Form("BUG: workqueue leaked lock or atomic in {function}", sources=(Source.DETAIL,),
                 needs=(rf"\d, {lines.NAME}\s*$",), near=1, keep=_ANY, stack_needed=False),
            # since 6.8 the line names the worker alone
            Form("{text}", near=1, needs=(r"leaked atomic, lock or RCU:",), stack_needed=False),
        ),
    ),
    Rule(
        "spinlock-debug", Kind.LOCKDEP, " on CPU#",
        # kernel/locking/spinlock_debug.c: spin_bug(), rwlock_bug(), __spin_lock_debug()
        r"BUG: (?P<what>(?:raw_?)?(?:spinlock|rwlock|write-lock|read-lock)[\w -]{3,40}?) on CPU#",
        (Form("BUG: {what} in {function}"),),
    ),
)  # fmt: skip

CONTEXTS = (
    Rule(
        "sleeping-in-atomic", Kind.ATOMIC_SLEEP, "sleeping function called from invalid context",
        # kernel/sched/core.c: __might_resched()
        r"BUG: sleeping function called from invalid context",
        (Form("BUG: sleeping function called from invalid context in {function}",
              keep="^(?:__alloc_skb|lock_sock_nested)$"),),
    ),
    Rule(
        "scheduling-while-atomic", Kind.ATOMIC_SLEEP, "scheduling while atomic",
        # kernel/sched/core.c: __schedule_bug()
        r"BUG: scheduling while atomic",
        (Form("BUG: scheduling while atomic in {function}"),),
    ),
    Rule(
        "smp-processor-id", Kind.LOCKDEP, "in preemptible ",
        # lib/smp_processor_id.c: check_preemption_disabled()
        r"BUG: using (?P<what>\w{1,60}\(\)) in preemptible",
        (
            Form("BUG: using {what} in preemptible code in {function}", near=6, keep=_ANY,
                 sources=(Source.DETAIL,),
                 needs=(rf"caller is (?!__this_cpu_pre|debug_smp_pro){lines.NAME}\+",)),
            Form("BUG: using {what} in preemptible code in {function}"),
        ),
    ),
    Rule(
        "assumed-context", Kind.ATOMIC_SLEEP, "BUG: assuming ",
        # kernel/sched/core.c: __cant_sleep(), __cant_migrate()
        r"BUG: assuming (?P<what>atomic|non migratable) context",
        (Form("BUG: assuming {what} context in {function}"),),
    ),
)  # fmt: skip

HANGS = (
    Rule(
        "soft-lockup", Kind.SOFT_LOCKUP, "soft lockup",
        # kernel/watchdog.c: watchdog_timer_fn()
        r"BUG: soft lockup",
        (Form("BUG: soft lockup in {function}", _STALL, sources=(Source.ANCHOR,)),),
        all_contexts=True, several_tasks=True, linger=15.0,
    ),
    Rule(
        "hard-lockup", Kind.HARD_LOCKUP, "hard LOCKUP",
        # kernel/watchdog.c: watchdog_hardlockup_check()
        r"(?:[Ww]atchdog detected|Watchdog: CPU \d+) (?:a )?hard LOCKUP",
        (Form("BUG: hard lockup in {function}", _STALL, sources=(Source.ANCHOR, Source.STACK)),),
        all_contexts=True, several_tasks=True, linger=15.0, fatal=True,
    ),
    Rule(
        "workqueue-lockup", Kind.WORKQUEUE_LOCKUP, "workqueue lockup",
        # kernel/workqueue.c: wq_watchdog_timer_fn()
        r"BUG: workqueue lockup",
        (Form("BUG: workqueue lockup", stack_needed=False),),
        all_contexts=True, several_tasks=True, linger=15.0,
    ),
    Rule(
        "hung-task", Kind.HUNG_TASK, "INFO: task ",
        # kernel/hung_task.c: check_hung_task()
        r"INFO: task .{1,80} blocked (?:in I/O wait )?for more than \d+ seconds",
        (Form("INFO: task hung in {function}", _HANG, generic=BLOCKING),),
        several_tasks=True, linger=15.0,
    ),
    Rule(
        "task-cannot-die", Kind.HUNG_TASK, "can't die for more than",
        r"INFO: task .{1,80} can't die for more than \d+ seconds",
        (Form("INFO: task can't die in {function}", _HANG, generic=SLEEPING),),
        several_tasks=True, linger=15.0,
    ),
    Rule(
        "rcu-stall", Kind.RCU_STALL, "INFO: ",
        # kernel/rcu/tree_stall.h: print_cpu_stall(), print_other_cpu_stall(); kernel/rcu/tasks.h
        r"INFO: (?:rcu_\w{1,30}|\w{1,30}) (?:self-)?detected (?:expedited )?stalls? on",
        (Form("INFO: rcu detected stall in {function}", _STALL, sources=(Source.ANCHOR,)),),
        all_contexts=True, several_tasks=True, linger=15.0,
    ),
    Rule(
        "device-in-use", Kind.BUG, "unregister_netdevice: ",
        # net/core/dev.c: netdev_wait_allrefs_any(); printed again every ten seconds
        r"unregister_netdevice: waiting for \S{1,64} to become free",
        (Form("unregister_netdevice: waiting for DEV to become free", stack_needed=False),),
        whole=True,
    ),
)  # fmt: skip

CORRUPTION = (
    Rule(
        "slab-corruption", Kind.MEMORY_CORRUPTION, "BUG ",
        # mm/slub.c: slab_bug()
        r"BUG (?P<cache>[\w.:-]{1,64}) \((?:Not t|T)ainted.{0,80}?\): (?P<what>.*\w)",
        (Form("BUG: {what}"),),
        unless="kasan: bad access detected",
    ),
    Rule(
        "slab-report-without-head", Kind.MEMORY_CORRUPTION, "INFO: ",
        # mm/slub.c: print_track() of a report whose head is lost
        r"^(?P<text>INFO: (?:Allocated|Freed) in .*)",
        (Form("{text}", corrupted=True),),
    ),
    Rule(
        "bad-page", Kind.MEMORY_CORRUPTION, "Bad page ",
        # mm/page_alloc.c: bad_page(); mm/memory.c: print_bad_pte()
        r"BUG: Bad page (?P<what>state|map|cache)",
        (
            Form("BUG: Bad page {what} in {function}", sources=(Source.SECTION, Source.STACK),
                 section="page last allocated"),
            Form("BUG: Bad page {what}"),
        ),
    ),
    Rule(
        "rss-counter", Kind.MEMORY_CORRUPTION, "rss-counter",
        # kernel/fork.c: check_mm()
        r"BUG: Bad rss-counter state",
        (Form("BUG: Bad rss-counter state", stack_needed=False),),
    ),
    Rule(
        "page-tables-on-freeing", Kind.MEMORY_CORRUPTION, "on freeing mm",
        # kernel/fork.c: check_mm()
        r"BUG: non-zero (?P<what>\w{1,40})(?: on freeing mm|.{0,40} on freeing mm)",
        (Form("BUG: non-zero {what} on freeing mm", stack_needed=False),),
    ),
    Rule(
        "dentry-in-use", Kind.BUG, "still in use",
        # fs/dcache.c: umount_check()
        r"BUG: Dentry .{0,200}still in use \(\d+\)\s{1,4}\[unmount of (?P<what>[^\]]{1,80})\]",
        (Form("BUG: Dentry still in use in unmount",
              ("BUG: Dentry still in use [unmount of {what}]",), stack_needed=False,
              skip=r"^(?:umount_check|d_walk|do_one_tree|shrink_dcache_\w+|generic_shut\w+)$"),),
    ),
    Rule(
        "busy-inodes", Kind.BUG, "Busy inodes after unmount",
        # fs/super.c: generic_shutdown_super()
        r"VFS: Busy inodes after unmount of ",
        (Form("VFS: Busy inodes after unmount (use-after-free)", stack_needed=False),),
    ),
    Rule(
        "file-count", Kind.BUG, "file count is ",
        # fs/open.c: filp_flush()
        r"VFS: Close: file count is (?:0|zero)",
        (Form("VFS: Close: file count is zero (use-after-free)", stack_needed=False),),
    ),
)  # fmt: skip

OTHERS = (
    Rule(
        "warning-at", Kind.WARNING, "WARNING: ",
        # kernel/panic.c: __warn(); since 6.17 the processor stands behind the function
        r"WARNING: (?:CPU: \d{1,5} PID: \d{1,10} at |[\w./+-]{1,200}\.[chS]:\d{1,6} at |at [\w./])"
        r"(?:\S{1,200}:\d{1,6} )?(?:(?P<site>[A-Za-z_][\w.]{0,120})\+0x)?",
        WARNINGS,
    ),
    Rule(
        "unwinder", Kind.WARNING, "WARNING: ",
        # arch/x86/kernel/unwind_{frame,orc}.c
        r"WARNING: (?P<what>kernel stack (?:regs|frame pointer)) at "
        r"(?:\S{1,40} in \S{1,40} has bad(?P<which> '\w{1,9}')?|.{1,80} has bad.{0,12}) value",
        (Form("WARNING: {what} has bad{which} value", stack_needed=False),),
    ),
    Rule(
        "reboot", Kind.REBOOT, "Linux version ",
        # init/version.c: linux_banner, when the kernel's clock had been running before
        r"^Linux version \d",
        (Form("unexpected kernel reboot", stack_needed=False),),
        fatal=True, whole=True, after_boot=True,
    ),
    Rule(
        "workload-failure", Kind.WORKLOAD, "SYZFA",
        # what a fuzzer's programs print when they cannot go on
        r"(?P<text>(?P<what>SYZFATAL|SYZFAIL): .*)",
        (Form("{text}", ("{what}",), stack_needed=False),),
        whole=True,
    ),
    Rule(
        "go-runtime", Kind.WORKLOAD, "fatal error: ",
        # a workload written in Go that its own runtime stops
        r"^fatal error: \w",
        (Form("go runtime error", near=20, stack_needed=False,
              needs=(r"^(?:runtime stack:|goroutine \d{1,9} )",)),),
        strict=True,
    ),
    Rule(
        "other-bug", Kind.BUG, "BUG: ",
        r"^(?:\[ |.{0,40}: )?(?P<text>BUG: .*?)(?: \])?$",
        (Form("{text}", stack_needed=False),),
        stamped=True,
    ),
    Rule(
        "other-warning", Kind.WARNING, "WARNING: ",
        r"^(?:\[ )?(?P<text>WARNING: .*?)(?: \])?$",
        (Form("{text}", stack_needed=False),),
        stamped=True,
    ),
)  # fmt: skip

GRAMMAR = Grammar(
    system="linux",
    rules=(*PANICS, *SANITIZERS, *OOPSES, *LOCKDEP, *CONTEXTS, *HANGS, *CORRUPTION, *OTHERS),
    prefix=lines.PREFIX,
    body=lines.BODY,
    frames=lines.FRAMES,
    instruction_pointer=lines.INSTRUCTION_POINTER,
    lost_pointer=lines.LOST_POINTER,
    link_register=lines.LINK_REGISTER,
    headings=lines.HEADINGS,
    sections=lines.SIDE_SECTIONS,
    elsewhere=lines.ELSEWHERE,
    ends=r"---\[ end (?:trace|Kernel panic)|^Rebooting in \d+ seconds",
    marks=("---[ end ", "Rebooting in ", "printk messages dropped", "=========="),
    absorbed=r"INFO: (?:Allocated|Freed) in",
    introduced=(
        r"Kernel panic - |Internal error: |invalid opcode|kernel BUG at|Unhandled fault"
        r"|kernel stack overflow|Oops(?:: (?:[0-9a-f]{4,16}\b|Kernel access|Exception in)| - |\[#)"
    ),
    harmless=lines.HARMLESS,
    generic=GENERIC,
    machinery=MACHINERY,
    lock_sites_skipped=LOCK_SITES_SKIPPED,
    anchors=ANCHORS,
    anchor_sections_skipped=r"^rcu_gp_kthread$",
    aliases=ALIASES,
    substitutions=(
        (r"\+0x[0-9a-f]+/0x[0-9a-f]+", ""),
        (r"\b(?:0x)?[0-9a-f]{16}\b|\b0x[0-9a-f]{5,16}\b|\b(?:ffff|c0)[0-9a-f]{4,12}\b", "ADDR"),
        (r"(?<=[a-z])\d{3,}|\b\d+\b", "NUM"),
    ),
    task=r"(?:WARNING: )?CPU: \d{1,5} (?:UID: \d{1,10} )?PID: (?P<task>\d{1,10}) ",
    foreign=r"^should_fail",
    fatal=r"Kernel panic - not syncing|^Rebooting in \d+ seconds",
    lossy=r"printk messages dropped",
)
