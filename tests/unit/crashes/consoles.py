# SPDX-License-Identifier: BSD-2-Clause
"""Write consoles the way kernels print them, for the tests of the crash parser."""

from collections.abc import Sequence

END_TRACE = "---[ end trace 0000000000000000 ]---"
MACHINE = "Hardware name: QEMU Standard PC (Q35 + ICH9, 2009), BIOS 1.16.2 04/01/2014"


def stamped(lines: Sequence[str], start: float = 12.5, context: str | None = None) -> bytes:
    """Put printk's time (and caller) before every line."""
    caller = f"[{context:>6}]" if context else ""
    return "".join(
        f"[{start + index / 1000:12.6f}]{caller} {line}\n" for index, line in enumerate(lines)
    ).encode()


def stack(*functions: str, heading: str = "Call Trace:") -> list[str]:
    """A call trace, innermost function first; a leading `?` makes a frame unreliable."""
    frames = []
    for index, name in enumerate(functions):
        mark = "? " if name.startswith("?") else ""
        frames.append(f" {mark}{name.lstrip('?')}+0x{index + 16:x}/0x1f0")
    return [heading, *frames]


def cpu(command: str = "race") -> list[str]:
    return [f"CPU: 1 PID: 314 Comm: {command} Not tainted 6.1.0 #1", MACHINE]


def registers(function: str) -> list[str]:
    return [
        f"RIP: 0010:{function}+0x2f/0x90",
        "Code: 48 89 e5 41 54 53 48 89 fb <48> 8b 07 48 85 c0 74 10",
        "RSP: 0018:ffffc900005d7d10 EFLAGS: 00010246",
        "RAX: 0000000000000000 RBX: ffff888004a3c000 RCX: 0000000000000001",
    ]


def oops(*first: str, at: str, trace: Sequence[str]) -> list[str]:
    """An x86 oops: what happened, registers, stack, end."""
    return [*first, *cpu(), *registers(at), *stack(*trace), "Modules linked in:", END_TRACE]


def warning(where: str, function: str, trace: Sequence[str], message: str = "") -> list[str]:
    """A WARNING as x86 has printed it since 5.x."""
    return [
        "------------[ cut here ]------------",
        *([message] if message else []),
        f"WARNING: CPU: 1 PID: 314 at {where} {function}+0x2f/0x90",
        "Modules linked in:",
        *cpu(),
        *registers(function),
        *stack(*trace),
        END_TRACE,
    ]


SYSCALL = ("do_syscall_64", "entry_SYSCALL_64_after_hwframe")
BOOT = [
    "Linux version 6.1.0 (builder@host) (gcc 12.2.0) #1 SMP",
    "Command line: console=ttyS0 panic=-1",
    "clocksource: tsc-early: mask: 0xffffffffffffffff max_cycles: 0x212731f",
    "workingset: timestamp_bits=46 max_order=17 bucket_order=0",
    "EXT4-fs (vda): mounted filesystem with ordered data mode",
]
