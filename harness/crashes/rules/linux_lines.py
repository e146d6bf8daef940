# SPDX-License-Identifier: BSD-2-Clause
"""How Linux's lines look: prefixes, stacks, and what belongs to a report.

All patterns are linear: no repetition stands inside another, and every one that may meet what
follows it is bounded.
"""

NAME = r"(?P<function>[A-Za-z_.][\w.$]{0,200})"
_SYMBOL = r"(?P<function>[A-Za-z_.$][\w.$]{0,250}|<[^+()\s]{1,200})"
_OFFSET = r"\+0x(?P<offset>[0-9a-f]{1,8})/0x[0-9a-f]{1,8}"
_MODULE = r"(?: \[(?P<module>[\w-]{1,64})[^\]]{0,80}\])?"
_ADDRESS = r"\[?<?(?:0x)?[0-9a-f]{8,16}>?\]?"
_FILE = r"(?P<file>[\w./+-]{1,200}\.(?:c|h|S|s|rs)):(?P<line>\d{1,7})"
_PLACE = rf"(?: {_FILE})?(?P<inlined> \[inline\])?"
_STAMP = r"\[ {0,8}\d{1,10}\.\d{6}\]"
_MARK = r"</?[A-Z#]\w{1,20}>"

PREFIX = (
    # drops, syslog's priority, what a login prompt or a logger put in front, time, caller
    r"(?:\*\* \d{1,12} printk messages dropped \*\* ?)?(?:<\d{1,3}>)?"
    r"(?:[^\[]{0,80}?(?=\[ {0,8}\d{1,10}\.\d{6}\]))?"
    r"(?:\[ {0,8}(?P<seconds>\d{1,10}\.\d{6})\] ?)?(?:\[ {0,6}(?P<context>[TC]\d{1,8})\] ?)?"
)

FRAMES = (
    # x86, arm64, riscv, ppc64: ` [<address>] ? function+0x1/0x2 [module] (unreliable) file.c:3`
    (
        "+0x",
        rf"\s{{0,40}}(?:{_MARK}\s{{0,4}})?(?:{_STAMP}\s{{0,4}})?(?:{_ADDRESS}\s{{1,4}}){{0,2}}"
        rf"(?P<doubt>\? )?{_SYMBOL}{_OFFSET}{_MODULE}(?:\s\([a-z]{{1,20}}\))?{_PLACE}",
    ),
    # arm: `[<address>] (function) from [<address>] (caller+0x1/0x2)`
    (
        ") from [",
        rf"\s{{0,8}}\[<[0-9a-f]{{8,16}}>\] \([^)]{{1,120}}\) from \[<[0-9a-f]{{8,16}}>\] "
        rf"\({_SYMBOL}{_OFFSET}{_MODULE}{_PLACE}",
    ),
    (" from ", rf"\s{{0,8}}[\w.$]{{1,120}} from {_SYMBOL}{_OFFSET}"),
    # what a symbolizer makes of them
    (":", rf"\s{{0,40}}{NAME} {_FILE}(?P<inlined> \[inline\])?\s{{0,4}}$"),
    ("--- interrupt", rf"--- interrupt: [0-9a-f]{{1,4}} at {_SYMBOL}{_OFFSET}"),
)

INSTRUCTION_POINTER = (
    r"(?:RIP: (?:0010|e030|e033):(?:\[<[0-9a-f]{1,16}>\]\s{1,4}\[<[0-9a-f]{1,16}>\]\s{1,4})?"
    r"|pc : |PC is at |NIP \[[0-9a-f]{16}\] |EIP: (?:\[<[0-9a-f]{8}>\] )?|EIP is at |epc : "
    r"|I?P: (?:\[<[0-9a-f]{8,16}>\] )?|Krnl PSW : [0-9a-f]{16} [0-9a-f]{16} \()"
    rf"{_SYMBOL}{_OFFSET}"
)
LOST_POINTER = (
    r"(?:RIP: (?:0010|e030|e033):|I?P: |PC is at |pc : |epc : |NIP \[[0-9a-f]{16}\] )"
    r"\[?<?(?:0x)?(?P<address>[0-9a-f]{1,16})>?\]?(?:\s|$)(?!\[)"
)
LINK_REGISTER = rf"(?:LR is at |lr : |LR \[[0-9a-f]{{16}}\] |ra : ){_SYMBOL}{_OFFSET}"

HEADINGS = r"\s{0,8}(?:Call [Tt]race|[Bb]acktrace|stack backtrace):"

SIDE_SECTIONS = (
    # stacks of what happened before or elsewhere
    r"\s{0,8}(?:(?:Allocated|Freed) by task|Last potentially|Second to last|Uninit was"
    r"|Local variable|-> #\d|Preemption disabled|page last|kfence-#\d.{0,120} by task"
    r"|irq event stamp|Showing all locks|INFO: (?:Allocated|Freed) in"
    r"|(?:read|write) to .{1,80} by |(?:\.\.\. )?which became |(?:.{0,80} )?state was registered at"
    r"|\{[A-Z-]{1,40}\} )"
)

ELSEWHERE = r"\s{0,8}(?:rcu: )?(?:NMI backtrace|Sending NMI|RCU grace-period|Task dump for)"

BODY = (
    r"\s{0,40}(?:"
    # stacks
    r"(?:\[?<?(?:0x)?[0-9a-f]{8,16}>?\]? ){0,2}(?:\? )?[A-Za-z_.(<$][^\s+]{0,250}\+0x[0-9a-f]{1,8}/"
    rf"|{HEADINGS}|stack trace|{_MARK}|\[<[0-9a-f]{{8,16}}>\]"
    r"|\S{1,120} \S{1,200}:\d{1,7}(?: \[inline\])?\s{0,4}$"
    r"|\S{1,120} from \S|--- interrupt|0x[0-9a-f]{1,16}\s{0,4}$|\.\.\.$"
    # registers, code, the machine
    r"|R[A-Z0-9]{2}: |E[A-Z]{2}: |[CDEFGS]S: |[CD]R\d: |RIP|EIP|IP: |PKRU|Code:|CPU: |CPU\d{0,4}: "
    r"|Hardware name|Workqueue:|task: |Stack:|Tainted:|Not tainted|Comm: |Modules linked in|\[last "
    r"|Dumping ftrace"
    r"|\(ftrace|---|===|Oops|Internal error|pc : |lr : |sp : |x\d{1,2} ?: |r\d{1,2} ?:"
    r"|pstate|PC is|LR is|Flags: |Control: |Process |Exception stack|[0-9a-f]{4}: |GPR\d|MSR: |XER"
    r"|CFAR|NIP |LR |Instruction dump|epc : |ra : |gp : |t\d ?: |s\d{1,2} ?: |a\d ?: |status: "
    r"|Krnl |pgd = |\[[0-9a-f]{8,16}\] |PGD |#PF|BAD$|Mem abort|Data abort"
    r"|  (?:ESR|EC|SET|EA|FSC) ="
    r"|(?:ESR|EC|SET|EA|FSC|ISV|CM|GCS) = |swapper pgtable|user pgtable|Register r\d|8<---"
    # sanitizers, slab, pages
    r"|(?:Read|Write) (?:of|at)|(?:Last|First) potentially|(?:Allocated|Freed) by|The buggy"
    r"| ?which belongs|\d{1,9}-byte region|Memory state|[ >]?[0-9a-f]{8,16}: |\^|Uninit was"
    r"|Bytes \d"
    r"|Memory access|Local variable|Data copied|kfence-#|KASAN: |kasan: |Pointer tag|page:|page: "
    r"|page dumped|page_owner|page last|flags: |raw: |head: |INFO: (?:Slab|Object|Allocated|Freed)"
    r"|Object |Bytes b4|Redzone|Padding|race at|(?:read|write|assert)\b.{0,80} to 0x|value changed"
    r"|Reported by Kernel|unreferenced object|comm \"|hex dump|backtrace|(?:[0-9a-f]{2} ){8}"
    r"|shift exponent|index -?\d|(?:signed|unsigned) integer|division of|load of|member access"
    # locks
    r"|#\d{1,4}: |->|other info|but |which |the existing|Chain exists|Possible |lock\(|\*\*\* DEAD"
    r"|irq event|(?:hard|soft)irqs? |no locks|\d{1,4} locks? held|rcu_scheduler|CPU\d {4,}|May be "
    r"|\S{1,64} (?:is trying|just changed)|\S{1,64} \[HC\d|\(.{1,200}\)\{"
    r"|[0-9a-f]{8,16} \(|and this"
    r"|inconsistent \{|\{[A-Z-]{2,40}\}|to a |\.\.\. which|and (?:this|interrupts)|Preemption dis"
    r"|in_atomic|preempt_count|RCU nest|caller is|last function|the code is fine|you didn"
    r"|turning off"
    r"|lock: 0x|\.owner|stack backtrace|\S{1,200}:\d{1,6} \S{1,40} .{0,80}usage|RCU used illegally"
    # stalls and hangs
    r"|rcu: |RCU "
    r"|\((?:detected|t=)|Sending NMI|NMI backtrace|Task dump|Showing all|INFO: lockdep is"
    r"|\"echo 0 >|\S{1,60} {2,20}[RSDTtXZPI] |\s?\d{1,4}-[.!?]{3,4}|\d{1,4}: \(|All QSes|Unless "
    r"|\S{1,40} kthread starved|Showing busy|pool \d|workqueue |  pending|  in-flight"
    # ends
    r"|Kernel panic|Kernel Offset|Rebooting in|invalid opcode|general prot|stack guard|kernel stack"
    r"|kernel BUG at|Shutting down|runtime stack:|goroutine \d|SMP: stopping|Memory Limit"
    r"|note: .{1,80} exited with"
    r")"
)

HARMLESS = (
    # notices that shout; each is printed by a kernel that is well
    r"WARNING: (?:.{0,120}(?:deprecat|will be removed|not supported|unsupported|obsolete"
    r"|experimental|vulnerab|insecure|mitigat|firmware|BIOS|recommend|mount option|not compiled))"
    r"|WARNING: (?:fbcon: |workqueue cpumask|See http|Unprivileged eBPF|stack depth|[Cc]an't open"
    r"|[Cc]ould not|[Cc]annot|clock|Image format|linker)|Speculative |Spectre |---\[ end "
    r"|INFO: (?:lockdep is turned off|NMI handler|recovery)"
)
