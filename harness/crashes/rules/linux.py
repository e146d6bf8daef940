# SPDX-License-Identifier: BSD-2-Clause
"""What Linux prints when it crashes (x86, arm64, arm, ppc64, riscv and s390 formats).

Rules are tried in order on every line that has a trigger; the source of each format is the kernel
function named beside it. docs/crashes.md says how to add one.
"""

from harness.crashes.report import Kind
from harness.crashes.rule import Form, Grammar, Rule, Source
from harness.crashes.rules.linux_functions import ALIASES, ANCHORS, GENERIC

_FUNCTION = r"(?P<function>[A-Za-z_.][\w.$]*|<?[A-Za-z_][^+()\s]{0,200})"
_OFFSET = r"\+0x(?P<offset>[0-9a-f]{1,8})/0x[0-9a-f]{1,8}"
_MODULE = r"(?: \[(?P<module>[\w-]{1,64})[^\]]{0,64}\])?"
_WHERE = r"(?: (?P<file>[\w./+-]{1,200}):(?P<line>\d{1,7}))?(?P<inlined> \[inline\])?"
_ADDRESS = r"\[?<?(?:0x)?[0-9a-f]{8,16}>?\]?"
_AT = r"(?P<function>[A-Za-z_.][\w.$]*)\+0x"

_STACK = (Source.STACK,)
_BAD_ACCESS = ("bad-access in {function}",)
_STALL = ("stall in {function}",)
_HANG = ("hang in {function}",)
_OVERFLOW = ("stack-overflow in {function}",)
_PANIC_AFTER = (
    r"Fatal exception|panic_on_\w+ set|panic_on_warn|hung_task: blocked|softlockup: hung"
    r"|RCU Stall|Fatal hardware error|Machine halted|Oops|hardlockup|Hard LOCKUP|sync(?:ing)?: system"
    r"|Aiee, killing interrupt handler|Attempted to kill (?:init|the idle task)"
)
_KASAN_LINE = r"BUG: KASAN: (?P<what>[a-zA-Z-]{3,60}(?: [a-z]+)?) (?:in|on) "


def _warning(file: str, title: str, **options: object) -> Form:
    """A WARNING told apart by the file that it is in; `title` has {function}."""
    return Form(title=title, needs=(file,), near=1, **options)  # type: ignore[arg-type]


WARNINGS = (
    _warning(r" at (?:\S*/)?mm/(?:slab_common|util|slub|slab)\.c:\d+.*(?:kmalloc|kvmalloc)\w*",
             "WARNING: kmalloc bug in {function}"),
    _warning(r"lib/refcount\.c:\d+|include/linux/refcount\.h:\d+",
             "WARNING: refcount bug in {function}", kind=Kind.REFCOUNT),
    _warning(r"lib/debugobjects\.c:\d+", "WARNING: ODEBUG bug in {function}"),
    _warning(r"kernel/locking/\w+\.[ch]:\d+ (?:at )?(?!warn_bogus|rwsem|mutex|percpu|rtmutex)\S*"
             r"|kernel/locking/lockdep\.c:\d+",
             "WARNING: locking bug in {function}", kind=Kind.LOCKDEP),
    _warning(r"drivers/usb/core/urb\.c:\d+ (?:at )?usb_submit_urb|usb_submit_urb\+",
             "WARNING in {function}/usb_submit_urb"),
    _warning(r"lib/kobject\.c:\d+", "WARNING: kobject bug in {function}"),
    _warning(r"fs/proc/generic\.c:\d+", "WARNING: proc registration bug in {function}"),
    _warning(r"net/netfilter/|.", "WARNING in {function}"),
)  # fmt: skip

RULES = (
    Rule(
        "kernel-panic-stack-protector",
        Kind.PANIC,
        "Kernel panic",
        # kernel/panic.c: __stack_chk_fail()
        r"Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in",
        (
            Form("kernel panic: stack is corrupted in {function}", needs=(r"corrupted in: " + _AT,),
                 near=1, sources=(Source.DETAIL, Source.STACK), stack_needed=False),
            Form("kernel panic: stack is corrupted in {function}"),
        ),
        fatal=True,
    ),
    Rule(
        "kernel-panic-stack-end",
        Kind.STACK_OVERFLOW,
        "Kernel panic",
        # kernel/sched/core.c: schedule_debug()
        r"Kernel panic - not syncing: corrupted stack end detected inside scheduler",
        (Form("kernel panic: corrupted stack end in {function}", _OVERFLOW,
              sources=(Source.ANCHOR, Source.STACK)),),
        fatal=True,
    ),
    Rule(
        "kernel-panic",
        Kind.PANIC,
        "Kernel panic",
        r"Kernel panic - not syncing: (?P<text>.*)",
        (
            Form("kernel panic: Attempted to kill init!", needs=(r"Attempted to kill init",),
                 near=1, stack_needed=False),
            Form("kernel panic: VFS: Unable to mount root fs on unknown-block(NUM,NUM)",
                 needs=(r"Unable to mount root fs",), near=1, stack_needed=False),
            Form("kernel panic: {text}", needs=(r"not syncing: .*\w",), near=1,
                 stack_needed=False),
        ),
        fatal=True,
        consequence=_PANIC_AFTER,
    ),
    Rule(
        "kasan",
        Kind.KASAN,
        "BUG: KASAN",
        # mm/kasan/report.c: print_error_description(), kasan_report_invalid_free()
        r"BUG: KASAN: (?P<what>[a-zA-Z-]{3,60})",
        (
            Form("KASAN: invalid-free in {function}", ("invalid-free in {function}",),
                 needs=(r"KASAN: (?:double-free|invalid-free|double-free or invalid-free) in ",),
                 near=1),
            Form("KASAN: {what} {rw} in {function}", _BAD_ACCESS,
                 needs=(_KASAN_LINE + r"\S", r"^\s*(?P<rw>Read|Write) (?:of size \d|at addr)"),
                 near=12),
            Form("KASAN: {what} in {function}", _BAD_ACCESS,
                 needs=(_KASAN_LINE + r"\S", r"^(?:Unknown access|Execute)"), near=12),
        ),
        ends=r"^={40,}\s*$",
    ),
    Rule(
        "kfence",
        Kind.KFENCE,
        "BUG: KFENCE",
        # mm/kfence/report.c: kfence_report_error()
        r"BUG: KFENCE: (?P<what>[a-z- ]{3,60}?) in ",
        (
            Form("KFENCE: {what} in {function}", ("invalid-free in {function}",),
                 needs=(r"KFENCE: (?:invalid free|memory corruption)",), near=1),
            Form("KFENCE: {what} in {function}", _BAD_ACCESS),
        ),
        ends=r"^={40,}\s*$",
    ),
    Rule(
        "kmsan",
        Kind.KMSAN,
        "BUG: KMSAN",
        # mm/kmsan/report.c: kmsan_report()
        r"BUG: KMSAN: (?P<what>[a-z-]{3,60}) in ",
        (Form("KMSAN: {what} in {function}", _BAD_ACCESS),),
        ends=r"^={40,}\s*$",
    ),
    Rule(
        "kcsan",
        Kind.KCSAN,
        "BUG: KCSAN",
        # kernel/kcsan/report.c: print_report()
        r"BUG: KCSAN: (?P<what>data-race|assert: race) in (?P<first>[\w.<>:]{1,200})",
        (
            Form("KCSAN: {what} in {function} / {second}", sources=(Source.OPENING,),
                 needs=(r"race in (?P<function>[\w.]{1,100})(?:\+\S{1,30})? / (?P<second>[\w.]{1,100})",),
                 near=1, keep="."),
            Form("KCSAN: {what} in {function}", sources=(Source.OPENING,),
                 needs=(r"race in (?P<function>[\w.]{1,100})",), near=1, keep="."),
        ),
        ends=r"^={40,}\s*$",
    ),
    Rule(
        "ubsan",
        Kind.UBSAN,
        "UBSAN: ",
        # lib/ubsan.c: ubsan_prologue()
        r"UBSAN: (?P<what>[A-Za-z][\w -]{2,60}) in ",
        (
            Form("UBSAN: undefined-behaviour in {function}", needs=(r"UBSAN: Undefined",), near=1),
            Form("UBSAN: array-index-out-of-bounds in {function}", _BAD_ACCESS,
                 needs=(r"UBSAN: array-index-out-of-bounds",), near=1),
            Form("UBSAN: {what} in {function}"),
        ),
        ends=r"^={40,}\s*$|---\[ end trace ",
    ),
    Rule(
        "bug-at",
        Kind.BUG,
        "kernel BUG at ",
        # lib/bug.c: report_bug(); the file tells apart what others check on a caller's behalf
        r"kernel BUG at (?P<file>[\w./+-]{1,200})",
        (
            Form("BUG: corrupted list in {function}", _BAD_ACCESS, near=1,
                 needs=(r"lib/list_debug\.c",), kind=Kind.MEMORY_CORRUPTION),
            Form("BUG: bad usercopy in {function}", near=1, needs=(r"mm/usercopy\.c",)),
            Form("kernel BUG in {function}"),
        ),
        fatal=True,
    ),
    Rule(
        "rust-panic",
        Kind.PANIC,
        "rust_kernel: panicked at ",
        # rust/kernel/lib.rs: panic()
        r"rust_kernel: panicked at (?P<place>\S{1,200})",
        (
            Form("{text} in {function}", needs=(r"^(?P<text>[A-Za-z`'][^\n]{3,150})$",)),
            Form("kernel BUG in {function}"),
        ),
        fatal=True,
    ),
    Rule(
        "null-pointer",
        Kind.OOPS,
        "NULL pointer dereference",
        # arch/x86/mm/fault.c: show_fault_oops(); arch/{arm,arm64,powerpc,riscv}/mm/fault.c
        r"(?:BUG: )?(?:[Uu]nable to handle )?(?:[Kk]ernel )?NULL pointer dereference"
        r"(?:,| at| on| for)",
        (Form("BUG: unable to handle kernel NULL pointer dereference in {function}", _BAD_ACCESS),),
        fatal=True,
    ),
    Rule(
        "bad-page-fault",
        Kind.OOPS,
        "nable to handle ",
        r"[Uu]nable to handle (?:kernel |page fault |paging )(?!NULL)"
        r"(?:paging request|for address|for |access to user memory|read from|write to|execute"
        r"|data access|instruction fetch|pointer dereference|unknown)?",
        (Form("BUG: unable to handle kernel paging request in {function}", _BAD_ACCESS),),
        fatal=True,
    ),
    Rule(
        "unhandled-fault",
        Kind.OOPS,
        "nhandled fault",
        # arch/arm/mm/fault.c: do_DataAbort(), arch/arm64/mm/fault.c: do_mem_abort()
        r"Unhandled fault: (?P<what>[^(]{1,80})|Unhandled fault at ",
        (Form("Unhandled fault in {function}", _BAD_ACCESS),),
        fatal=True,
    ),
    Rule(
        "alignment-trap",
        Kind.OOPS,
        "Alignment trap",
        # arch/arm/mm/alignment.c: do_alignment()
        r"Alignment trap: not handling instruction",
        (Form("Alignment trap in {function}"),),
        fatal=True,
    ),
    Rule(
        "general-protection",
        Kind.OOPS,
        "general protection fault",
        # arch/x86/kernel/traps.c: exc_general_protection()
        r"(?:^|: |\]|segment-related )\s*general protection fault(?::|,)",
        (Form("general protection fault in {function}", _BAD_ACCESS),),
        fatal=True,
        unless=r"traps: |\[\d+\] general protection|ip:[0-9a-f]",
    ),
    Rule(
        "divide-error",
        Kind.OOPS,
        "divide",
        r"(?:^|: )divide[ _]error: \d{4}",
        (Form("divide error in {function}"),),
        fatal=True,
    ),
    Rule(
        "stack-guard-page",
        Kind.STACK_OVERFLOW,
        "stack guard page",
        # arch/x86/kernel/traps.c: handle_stack_overflow()
        r"BUG: (?:[\w#-]{1,20} )?stack guard page was hit",
        (Form("BUG: stack guard page was hit in {function}", _OVERFLOW),),
        fatal=True,
    ),
    Rule(
        "double-fault",
        Kind.DOUBLE_FAULT,
        "double fault",
        r"PANIC: double fault|(?:^|: )double fault: \d{4}",
        (Form("PANIC: double fault in {function}"),),
        fatal=True,
    ),
    Rule(
        "warning-at",
        Kind.WARNING,
        "WARNING: ",
        # kernel/panic.c: __warn(); 6.17 moved the CPU behind the function
        r"WARNING: (?:CPU: \d{1,5} PID: \d{1,10} at |[\w./+-]{1,200}\.[chS]:\d{1,6} at |at )",
        WARNINGS,
    ),
    Rule(
        "circular-locking",
        Kind.LOCKDEP,
        "locking dependency detected",
        # kernel/locking/lockdep.c: print_circular_bug_header()
        r"possible (?:circular|irq) locking dependency detected",
        (Form("possible deadlock in {function}", needs=(r"is trying to (?:acquire|lock)", r"\bat: "),
              sources=(Source.LOCK_SITE, Source.STACK), stack_needed=True),),
    ),
    Rule(
        "recursive-locking",
        Kind.LOCKDEP,
        "recursive locking detected",
        r"possible recursive locking detected",
        (Form("possible deadlock in {function}", needs=(r"is trying to (?:acquire|lock)", r"\bat: "),
              sources=(Source.LOCK_SITE, Source.STACK)),),
    ),
    Rule(
        "irq-lock-inversion",
        Kind.LOCKDEP,
        "lock inversion dependency detected",
        r"possible irq lock inversion dependency detected",
        (Form("possible deadlock in {function}", needs=(r"just changed the state of lock",),
              sources=(Source.LOCK_SITE, Source.STACK)),),
    ),
    Rule(
        "irq-lock-order",
        Kind.LOCKDEP,
        "lock order detected",
        # print_bad_irq_dependency()
        r"\w+-safe -> \w+-unsafe lock order detected",
        (Form("possible deadlock in {function}", needs=(r"which became \S+-irq-safe at",),
              sources=(Source.SECTION, Source.STACK), section=r"which became \S+-irq-safe at",
              stack_needed=False),),
    ),
    Rule(
        "inconsistent-lock-state",
        Kind.LOCKDEP,
        "inconsistent lock state",
        r"inconsistent lock state",
        (Form("inconsistent lock state in {function}", needs=(r" takes:", r"\bat: "),
              sources=(Source.LOCK_SITE, Source.STACK)),),
    ),
    Rule(
        "rcu-usage",
        Kind.LOCKDEP,
        "suspicious RCU usage",
        # lockdep_rcu_suspicious()
        r"(?:WARNING|INFO): suspicious RCU usage|^\[ INFO: suspicious RCU usage",
        (Form("WARNING: suspicious RCU usage in {function}",
              needs=(r"suspicious rcu_\w+\(\) usage|RCU-list traversed in non-reader section"
                     r"|Illegal context switch in RCU|used illegally while idle"
                     r"|usage!|Illegal ",)),),
    ),
    Rule(
        "unlock-balance",
        Kind.LOCKDEP,
        "bad unlock balance detected",
        r"bad unlock balance detected",
        (Form("WARNING: bad unlock balance in {function}", needs=(r"is trying to release lock",)),),
    ),
    Rule(
        "locks-held-at-sleep",
        Kind.LOCKDEP,
        "still has locks held",
        # print_held_locks_bug()
        r"(?P<level>BUG|WARNING): \S{1,64} still has locks held",
        (Form("{level}: still has locks held in {function}", sources=(Source.LOCK_SITE,)),),
    ),
    Rule(
        "locks-held-in-user-space",
        Kind.LOCKDEP,
        "lock held when returning to user space",
        r"(?P<level>BUG|WARNING): lock held when returning to user space",
        (Form("{level}: lock held when returning to user space in {function}",
              sources=(Source.LOCK_SITE,), stack_needed=False),),
    ),
    Rule(
        "held-lock-freed",
        Kind.LOCKDEP,
        "held lock freed",
        r"(?P<level>BUG|WARNING): held lock freed",
        (Form("{level}: held lock freed in {function}", sources=(Source.LOCK_SITE, Source.STACK)),),
    ),
    Rule(
        "invalid-wait-context",
        Kind.LOCKDEP,
        "nvalid wait context",
        r"BUG: Invalid wait context",
        (Form("WARNING: locking bug in {function}", sources=(Source.LOCK_SITE, Source.STACK),
              keep="deactivate_slab"),),
    ),
    Rule(
        "nested-lock",
        Kind.LOCKDEP,
        "nested lock was not taken",
        r"WARNING: Nested lock was not taken|Nested lock was not taken",
        (Form("WARNING: nested lock was not taken in {function}"),),
    ),
    Rule(
        "non-static-key",
        Kind.LOCKDEP,
        "trying to register non-static key",
        r"INFO: trying to register non-static key",
        (Form("INFO: trying to register non-static key in {function}"),),
    ),
    Rule(
        "workqueue-leak",
        Kind.LOCKDEP,
        "workqueue leaked",
        # kernel/workqueue.c: process_one_work()
        r"BUG: workqueue leaked (?:lock or atomic|atomic, lock or RCU)",
        (Form("BUG: workqueue leaked lock or atomic in {function}",
              needs=(r"last function: " + r"(?P<function>[\w.]{1,100})",),
              sources=(Source.DETAIL,), keep=".", stack_needed=False),),
    ),
    Rule(
        "spinlock-debug",
        Kind.LOCKDEP,
        "lock",
        # kernel/locking/spinlock_debug.c: spin_bug(), __spin_lock_debug()
        r"BUG: (?P<what>(?:spinlock|rwlock|rwlock-\w+|write-lock|read-lock|raw_?spinlock)"
        r"[\w -]{3,40}?)(?: suspected)? on CPU#",
        (
            Form("BUG: {what} suspected in {function}", needs=(r"suspected on CPU",), near=1),
            Form("BUG: {what} in {function}"),
        ),
    ),
    Rule(
        "sleeping-in-atomic",
        Kind.ATOMIC_SLEEP,
        "sleeping function called from invalid context",
        r"BUG: sleeping function called from invalid context",
        (Form("BUG: sleeping function called from invalid context in {function}"),),
    ),
    Rule(
        "scheduling-while-atomic",
        Kind.ATOMIC_SLEEP,
        "scheduling while atomic",
        r"BUG: scheduling while atomic",
        (Form("BUG: scheduling while atomic in {function}"),),
    ),
    Rule(
        "smp-processor-id",
        Kind.LOCKDEP,
        "in preemptible ",
        # lib/smp_processor_id.c: check_preemption_disabled()
        r"BUG: using (?P<what>\w+\(\)) in preemptible",
        (Form("BUG: using {what} in preemptible code in {function}"),),
    ),
    Rule(
        "soft-lockup",
        Kind.SOFT_LOCKUP,
        "soft lockup",
        r"BUG: soft lockup(?: - CPU#\d+ stuck)?",
        (Form("BUG: soft lockup in {function}", _STALL, sources=(Source.ANCHOR,)),),
        all_contexts=True,
        linger=15.0,
    ),
    Rule(
        "hung-task",
        Kind.HUNG_TASK,
        "blocked for more than ",
        # kernel/hung_task.c: check_hung_task()
        r"INFO: task \S.{0,80} blocked for more than \d+ seconds",
        (Form("INFO: task hung in {function}", _HANG, keep="^rtnl_lock$"),),
        linger=15.0,
    ),
    Rule(
        "task-cannot-die",
        Kind.HUNG_TASK,
        "can't die for more than",
        r"INFO: task \S.{0,80} can't die for more than \d+ seconds",
        (Form("INFO: task can't die in {function}", _HANG, keep="^rtnl_lock$"),),
        linger=15.0,
    ),
    Rule(
        "rcu-stall",
        Kind.RCU_STALL,
        "detected",
        # kernel/rcu/tree_stall.h: print_cpu_stall(), print_other_cpu_stall(); kernel/rcu/tasks.h
        r"INFO: rcu_\w+ (?:self-detected stall on CPU|detected (?:expedited )?stalls? on)",
        (Form("INFO: rcu detected stall in {function}", _STALL, sources=(Source.ANCHOR,)),),
        all_contexts=True,
        linger=15.0,
    ),
    Rule(
        "memory-leak",
        Kind.MEMORY_LEAK,
        "memory leak",
        r"BUG: memory leak",
        (Form("memory leak in {function}"),),
    ),
    Rule(
        "dentry-in-use",
        Kind.BUG,
        "still in use",
        # fs/dcache.c: umount_check()
        r"BUG: Dentry .{0,200}still in use \(\d+\) \[unmount of (?P<what>[^\]]{1,80})\]",
        (Form("BUG: Dentry still in use in unmount", ("BUG: Dentry still in use [unmount of {what}]",),
              stack_needed=False),),
    ),
    Rule(
        "bad-page-state",
        Kind.MEMORY_CORRUPTION,
        "Bad page ",
        r"BUG: Bad page (?P<what>state|map|cache)",
        (Form("BUG: Bad page {what} in {function}"), Form("BUG: Bad page {what}")),
    ),
    Rule(
        "object-already-free",
        Kind.MEMORY_CORRUPTION,
        "BUG ",
        # mm/slub.c: slab_bug()
        r"BUG (?P<cache>[\w.-]{1,64}) \((?:Not t|T)ainted[^)]{0,80}\): (?P<what>.*)",
        (Form("BUG: {what}"),),
    ),
    Rule(
        "bad-mode",
        Kind.PANIC,
        "Bad mode in ",
        r"Bad mode in .* handler detected",
        (Form("kernel panic: bad mode", stack_needed=False),),
        fatal=True,
    ),
    Rule(
        "invalid-opcode",
        Kind.OOPS,
        "invalid opcode",
        r"(?:^|: )invalid opcode: \d{4}",
        (Form("invalid opcode in {function}"),),
        fatal=True,
    ),
    Rule(
        "internal-error",
        Kind.OOPS,
        "Internal error: ",
        # arch/arm64/kernel/traps.c: __die()
        r"Internal error: (?P<what>.*)",
        (Form("Internal error in {function}"),),
        fatal=True,
    ),
    Rule(
        "busy-inodes",
        Kind.BUG,
        "Busy inodes after unmount",
        r"VFS: Busy inodes after unmount of ",
        (Form("VFS: Busy inodes after unmount (use-after-free)", stack_needed=False),),
    ),
    Rule(
        "stack-regs",
        Kind.WARNING,
        "WARNING: kernel stack ",
        # arch/x86/kernel/unwind_frame.c
        r"WARNING: (?P<what>kernel stack (?:regs|frame pointer)) at \S+ in \S+ has bad"
        r"(?P<rest>.{0,12}) value",
        (Form("WARNING: {what} has bad{rest} value", stack_needed=False),),
    ),
    Rule(
        "trusty",
        Kind.PANIC,
        "trusty: ",
        r"trusty: panic .*ASSERT FAILED",
        (Form("trusty: ASSERT FAILED:"),),
        fatal=True,
    ),
    Rule(
        "workload-failure",
        Kind.WORKLOAD,
        "SYZFATAL",
        r"(?P<text>SYZFATAL: .*)",
        (Form("{text}", ("SYZFATAL",), stack_needed=False),),
        whole=True,
    ),
    Rule(
        "other-bug",
        Kind.BUG,
        "BUG: ",
        r"(?:^|\s)(?P<text>BUG: .*)",
        (Form("{text}"),),
    ),
    Rule(
        "other-warning",
        Kind.WARNING,
        "WARNING: ",
        r"^(?P<text>WARNING: .*)",
        (Form("{text}", stack_needed=False),),
    ),
    Rule(
        "slab-info",
        Kind.MEMORY_CORRUPTION,
        "INFO: ",
        # mm/slub.c: print_track() of a report whose head is lost
        r"^(?P<text>INFO: (?:Allocated|Freed) in .*)",
        (Form("{text}", corrupted=True),),
    ),
)  # fmt: skip

GRAMMAR = Grammar(
    system="linux",
    rules=RULES,
    prefix=(
        r"(?:\*\* \d{1,12} printk messages dropped \*\* ?)?(?:<\d{1,3}>)?"
        r"(?:[^\[]{0,80}?(?=\[ {0,8}\d{1,10}\.\d{6}\]))?"
        r"(?:\[ {0,8}(?P<seconds>\d{1,10}\.\d{6})\] ?)?(?:\[ {0,6}(?P<context>[TC]\d{1,8})\] ?)?"
    ),
    body=(
        r"\s{0,40}(?:"
        r"(?:Call [Tt]race|[Bb]acktrace|[Ss]tack backtrace|stack trace):"
        r"|</?[A-Z#]\w{1,20}>"
        r"|(?:\[<?[0-9a-fx]{8,18}>?\] ){0,2}(?:\? )?[A-Za-z_.(<][^\s+]{0,200}\+0x[0-9a-f]{1,8}/"
        r"|\[<[0-9a-f]{8,16}>\]|\S{1,80} \S{1,120}:\d{1,7}(?: \[inline\])?$"
        r"|[RE]?[A-Z]{2,3}\d?: |R\d\d: |CR\d: |DR\d: |PKRU|Code:|Modules linked in|CPU:|Hardware name"
        r"|Workqueue:|task:|Stack:|Dumping ftrace|\(ftrace|---\[|Oops|Internal error|Tainted:"
        r"|(?:Read|Write) (?:of|at)|(?:Last|First) potentially|Allocated by|Freed by|The buggy"
        r"|page:|page dumped|page_owner|page last|flags:|raw:|head:|Memory state|[ >]?[0-9a-f]{8,16}: "
        r"|\^|Uninit|Bytes \d|Memory access|Local variable|Data copied|#PF|PGD|BAD$|pgd|\[[0-9a-f]{8,16}\]"
        r"|pc :|lr :|sp :|x\d{1,2} ?:|pstate|PC is|LR is|r\d{1,2} ?:|Flags:|Control:|Process |Exception stack"
        r"|[0-9a-f]{4}: |GPR\d|MSR:|XER|CFAR|NIP|LR |--- interrupt|Instruction dump|Mem abort|Data abort"
        r"|ESR =|EC =|SET =|EA =|FSC =|ISV =|CM =|GCS =|epc :|Krnl "
        r"|(?:\#\d{1,3}:|->? ?\#\d)|other info|but task is|which lock|the existing dep|Chain exists|Possible "
        r"|lock\(|\*\*\* DEADLOCK|irq event|(?:hard|soft)irqs last|no locks held|\d{1,4} locks? held"
        r"|rcu_scheduler|CPU\d {4,}|----|=====|May be due|\S{1,64} is trying to|(?:rcu: )?\s{0,9}\((?:detected|t=)"
        r"|Sending NMI|NMI backtrace|Task dump|rcu: |RCU |Kernel panic|Kernel Offset|Rebooting in|Showing all"
        r"|INFO: (?:Slab|Object|Allocated|Freed|lockdep is)|Object |Bytes b4|Redzone|Padding|Preemption disabled"
        r"|in_atomic|preempt_count|caller is|unreferenced object|comm \"|hex dump|(?:[0-9a-f]{2} ){8}"
        r"|race at|(?:read|write|assert)\b.{0,60} to 0x|value changed|Reported by Kernel|\"echo 0 >"
        r"|Not tainted|KASAN: |kasan: |the code is fine|turning off the lock|invalid opcode|general prot"
        r"|last function|kfence-#|stack guard|kernel stack overflow|kernel BUG at|RIP|\S{1,60} {2,20}[RSDTtXZPI] "
        r")"
    ),
    frames=(
        rf"\s{{0,40}}(?:</?[A-Z#]\w{{1,20}}>\s{{0,4}})?(?:\[ {{0,8}}\d{{1,10}}\.\d{{6}}\]\s{{0,4}})?"
        rf"(?:{_ADDRESS}\s{{1,4}}){{0,2}}(?P<doubt>\? )?{_FUNCTION}{_OFFSET}{_MODULE}(?:\s\([a-z]+\))?{_WHERE}",
        rf"\[<[0-9a-f]{{8,16}}>\] \([^)]{{1,120}}\) from \[<[0-9a-f]{{8,16}}>\] \({_FUNCTION}{_OFFSET}{_MODULE}\)",
        rf"\s?[\w.$]{{1,120}} from {_FUNCTION}{_OFFSET}",
        r"\s{0,40}(?P<function>[A-Za-z_][\w.$]{1,120}) (?P<file>[\w./+-]{1,200}\.(?:c|h|S|rs)):"
        r"(?P<line>\d{1,7})(?P<inlined> \[inline\])?\s*$",
        rf"--- interrupt: [0-9a-f]{{1,4}} at {_FUNCTION}{_OFFSET}",
    ),
    instruction_pointer=(
        rf"^(?:RIP: (?:0010|e030):(?:\[<[0-9a-f]{{1,16}}>\]\s{{1,4}}\[<[0-9a-f]{{1,16}}>\]\s{{1,4}})?"
        rf"|pc : |PC is at |NIP \[[0-9a-f]{{16}}\] |EIP: (?:\[<[0-9a-f]{{8}}>\] )?|EIP is at |epc : "
        rf"|I?P: (?:\[<[0-9a-f]{{8,16}}>\] )?){_FUNCTION}{_OFFSET}"
    ),
    headings=r"(?:Call [Tt]race|[Bb]acktrace|stack backtrace):",
    sections=(
        r"^\s*(?:Allocated by|Freed by|Last potentially|Uninit was|Local variable|-> #\d"
        r"|Preemption disabled|page last|kfence-#\d.* (?:allocated|freed) by|state was registered"
        r"|.*which became |.*INFO: (?:Allocated|Freed) in|irq event stamp|Showing all locks"
        r"|NMI backtrace|Sending NMI|Second to last|First potentially|RCU grace-period)"
    ),
    ends=r"---\[ end (?:trace|Kernel panic)|^Rebooting in \d+ seconds",
    absorbed=r"Kernel panic - |Oops: |Internal error: |invalid opcode|kernel BUG at|Unhandled fault",
    harmless=(
        r"WARNING: (?:the mand mount|fbcon|workqueue cpumask|See http|kernel not compiled|.*deprecated)"
        r"|Speculative |Spectre|lockdep is turned off"
    ),
    generic=GENERIC,
    anchors=ANCHORS,
    anchor_sections_skipped=r"^rcu_gp_kthread$",
    aliases=ALIASES,
    substitutions=(
        (r"\+0x[0-9a-f]+/0x[0-9a-f]+", ""),
        (r"\b(?:0x)?[0-9a-f]{16}\b|\b0x[0-9a-f]{5,16}\b|\bffff[0-9a-f]{4,12}\b", "ADDR"),
        (r"(?<=[a-z])\d+|\b\d+\b", "NUM"),
    ),
    fatal=r"Kernel panic - not syncing|^Rebooting in \d+ seconds",
    lossy=r"printk messages dropped",
)
