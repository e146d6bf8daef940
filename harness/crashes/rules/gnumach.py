# SPDX-License-Identifier: BSD-2-Clause
"""What GNU Mach prints when it crashes (i386, x86-64).

The kernel source that prints a format is named beside it. GNU Mach prints no stack by itself: with
a kernel debugger a trace may follow, else the text names file, line and function.
docs/crashes.md says how to add a rule.
"""

from harness.crashes.report import Kind
from harness.crashes.rule import Form, Grammar, Rule, Source

_NAME = r"(?P<function>[A-Za-z_][\w.]{0,120})"
_PLACE = r"(?:\{cpu\d{1,3}\} )?(?P<file>[\w./+-]{1,200}\.[chSy]):\d{1,6}: "
_EXPRESSION = r"Assertion `(?P<expression>.{1,300}?)' failed"
_BARE_NUMBER = (
    r"(?:(?<![\w.])|(?<=\.\.))"  # also behind the dots of a range, not in kalloc.8192
    r"(?:\d[0-9a-f]*|(?=[a-f]{1,15}\d)[0-9a-f]{4,16}|[a-f]{8}|[a-f]{16})\b"
)
"""A number, which may be hexadecimal: Mach prints %lx and %p without 0x, and 1000 must look as
1f000 does. Short ones that begin with a letter are names (fd0), those without a digit words, unless
they are as long as an address."""
_DETAIL_OR_STACK = (Source.DETAIL, Source.STACK)

RULES = (
    Rule(
        "assertion", Kind.ASSERTION, "Assertion `",
        # kern/debug.c: Assert(); no line end follows, what comes next stands on the same line
        rf"(?:\{{cpu\d{{1,3}}\}} |panic: ?){_PLACE}{_NAME}: Assertion `",
        (
            Form("assertion `{expression}' failed in {function}", near=1, keep=".",
                 stack_needed=False, sources=(Source.OPENING,), needs=(_EXPRESSION,)),
            Form("assertion failed in {function}", keep=".", stack_needed=False,
                 sources=(Source.OPENING,), corrupted=True),
        ),
        fatal=True,
    ),
    Rule(
        "assertion-without-processor", Kind.ASSERTION, "Assertion `",
        # kern/debug.c of uniprocessor kernels; the path tells it from a user program's assert()
        r"(?P<file>\.\./[\w./+-]{1,200}\.[chSy]):\d{1,6}: " + _NAME + r": Assertion `",
        (
            Form("assertion `{expression}' failed in {function}", near=1, keep=".",
                 stack_needed=False, sources=(Source.OPENING,), needs=(_EXPRESSION,)),
        ),
        fatal=True,
    ),
    Rule(
        "kernel-trap", Kind.TRAP, "Kernel ",
        # i386/i386/trap.c: kernel_trap()
        r"Kernel (?P<what>[A-Z][\w ]{2,40}?|trap \d{1,3})(?: trap)?, [er]ip 0x",
        (
            Form("Kernel {what} in {function}", needs=(rf"^Stopped\s{{1,2}}at\s{{1,12}}{_NAME}\+",),
                 sources=_DETAIL_OR_STACK, stack_needed=False),
            Form("Kernel {what}", stack_needed=False),
        ),
        fatal=True,
    ),
    Rule(
        "kernel-page-fault", Kind.TRAP, "ernel page fault at ",
        # i386/i386/trap.c: kernel_trap()
        r"[Kk]ernel page fault at ",
        (Form("Kernel Page fault", stack_needed=False),),
        fatal=True,
    ),
    Rule(
        "user-trap", Kind.TRAP, "user trap, type ",
        # i386/i386/trap.c: user_trap()
        r"user trap, type \d",
        (Form("user trap", stack_needed=False),),
        fatal=True,
    ),
    Rule(
        "double-fault", Kind.DOUBLE_FAULT, "DOUBLE FAULT!",
        # i386/i386/trap.c: handle_double_fault()
        r"DOUBLE FAULT!",
        (Form("panic: DOUBLE FAULT!", stack_needed=False),),
        fatal=True,
    ),
    Rule(
        "panic", Kind.PANIC, "panic ",
        # kern/debug.c: Panic()
        rf"(?:^|[^\w-])panic {_PLACE}{_NAME}: (?P<text>.*\S)?",
        (
            Form("panic: {text} in {function}", near=1, keep=".", stack_needed=False,
                 sources=(Source.OPENING,), needs=(r"panic .*: \S",)),
        ),
        fatal=True,
        consequence=r"Debugger invoked|: trap$",
    ),
    Rule(
        "old-panic", Kind.PANIC, "panic: ",
        # kern/debug.c before 1.5
        r"^(?:\{cpu\d{1,3}\} )?panic: (?P<text>.*\S)",
        (Form("panic: {text}", stack_needed=False),),
        fatal=True,
    ),
    Rule(
        "kdb", Kind.DDB, "Stopped",
        # ddb/db_trap.c: db_task_trap(), when nothing said why; a tab stands before "at"
        r"^Stopped\s{1,2}at\s",
        (Form("kdb: stopped in {function}", stack_needed=False),),
        fatal=True,
    ),
    Rule(
        "reboot", Kind.REBOOT, "GNU Mach ",
        # kern/startup.c: the version, printed a second time
        r"^GNU Mach \d",
        (Form("unexpected kernel reboot", stack_needed=False),),
        fatal=True, whole=True, after_boot=True,
    ),
)  # fmt: skip

GRAMMAR = Grammar(
    system="gnumach",
    rules=RULES,
    prefix=r"(?P<seconds>(?!))?(?P<context>(?!))?",
    body=(
        r"\s{0,20}(?:kernel: |kernel trap|Kernel |Stopped\s|db(?:\{\d{1,3}\})?> |panic |Debugger"
        r"|[A-Z]{3} [0-9A-Fa-f]|[ER][A-Z]{2} |R\d{1,2} |trapno |[er]?flags|EFL|CS |>>>>>"
        r"|[A-Za-z_][\w.]{0,120}\(|0x[0-9a-f]{4,16}\(|In tight loop)"
    ),
    frames=(
        # ddb's trace: `function(arguments)+0x12`, with file and line where symbols have them
        ("(", rf"\s{{0,20}}{_NAME}\([0-9a-fx, .]{{0,200}}\)(?:\+0x(?P<offset>[0-9a-f]{{1,8}}))?"),
        ("+0x", rf"\s{{0,20}}0x[0-9a-f]{{4,16}}\s{{1,4}}{_NAME}\+0x(?P<offset>[0-9a-f]{{1,8}})"),
    ),
    instruction_pointer=rf"Stopped\s{{1,2}}at\s{{1,12}}{_NAME}\+(?:0x)?(?P<offset>[0-9a-f]{{1,8}})",
    lost_pointer=r"(?!)",
    link_register=r"(?!)",
    headings=r"(?!)",
    sections=r"(?!)",
    elsewhere=r"(?!)",
    ends=r"^db(?:\{\d{1,3}\})?> |Debugger invoked, but|: kernel_trap: trap|In tight loop",
    marks=("Stopped", "db> ", "db{", "Debugger invoked", ": trap", "In tight loop"),
    # kern/debug.c: Debugger() stops in the debugger by a breakpoint, which is no crash of its own
    absorbed=r"panic |kernel trap|Kernel Breakpoint trap|Stopped\s|page fault at|DOUBLE FAULT",
    introduced=r"(?!)",
    harmless=r"(?!)",
    generic=(
        r"^(?:Debugger|SoftDebugger|Panic|panic|Assert|log|kdb_\w+|db_\w+|kernel_trap|trap_\w+|alltraps"
        r"|all_intrs|halt_\w+|t_\w+|take_trap|(?:simple|_simple)_lock\w*|lock_\w+|call_continuation)$"
    ),
    substitutions=(
        (r"\b0x[0-9a-f]+\b", "ADDR"),
        (_BARE_NUMBER, "NUM"),
    ),
    fatal=r"panic |Assertion `|Kernel ",
)
