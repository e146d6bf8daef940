# SPDX-License-Identifier: BSD-2-Clause
"""What FreeBSD prints when it crashes (amd64, arm64, powerpc64)."""

from harness.crashes.report import Kind
from harness.crashes.rule import Form, Grammar, Rule

RULES = (
    Rule(
        "panic",
        Kind.PANIC,
        "panic: ",
        r"panic: (?P<text>.*)",
        (Form("panic: {text}", stack_needed=False),),
        fatal=True,
    ),
)
GRAMMAR = Grammar(
    system="freebsd",
    rules=RULES,
    prefix=r"(?P<seconds>(?!))?(?P<context>(?!))?",
    body=r"\S",
    frames=(
        r"(?:#\d+ 0x[0-9a-f]+ at )?(?P<function>\w+)(?:\(\) at \w+)?\+0x(?P<offset>[0-9a-f]+)",
    ),
    instruction_pointer=r"(?!)", lost_pointer=r"(?!)", link_register=r"(?!)",
    headings=r"KDB: stack",
    sections=r"(?!)", elsewhere=r"(?!)",
    ends=r"^db> |Uptime:",
    absorbed=r"panic",
    harmless=r"(?!)",
    generic=r"^(db_\w+|kdb_\w+|v?panic|trap\w*|calltrap)$",
)
