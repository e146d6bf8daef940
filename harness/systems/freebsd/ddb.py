# SPDX-License-Identifier: BSD-2-Clause
"""DDB, FreeBSD's kernel debugger (ddb(4)), as it is talked to on the serial console.

Its own scripts (`kdb.enter.panic`, ddb(8)) run without anybody at the console, but have 128 bytes
altogether (sys/ddb/ddb.h, DB_MAXSCRIPTLEN), end with the first command that faults, and put no
limit to one that does not end: so each command is typed at the prompt instead. Nothing interrupts
a command that has begun: DDB asks for no ^C while it prints (sys/ddb/db_input.c, cnmaygetc()).
"""

import re

from harness.systems.base import Debugger

DDB = Debugger(
    name="ddb",
    setup=(
        "sysctl debug.debugger_on_panic=1",
        # the PL011's driver knows no break, so what a person types (CR ~ ^B) is told apart instead
        # (sys/kern/subr_kdb.c, kdb_alt_break())
        "sysctl debug.kdb.alt_break_to_debugger=1",
    ),
    break_in=b"\r~\x02",
    prompt=re.compile(rb"(?:\A|(?<=[\r\n]))db> \Z"),
    pager=re.compile(rb"--More--\r?\Z"),
    go_on=b" ",
    first=("set $lines = 0",),
    # sys/ddb/ddb.h, DB_MAXLINE, of which db_readline() needs two
    longest_command=118,
)
