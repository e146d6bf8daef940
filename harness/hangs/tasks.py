# SPDX-License-Identifier: BSD-2-Clause
"""What a guest that still answers says of its tasks: shell commands for its init, by system."""

import re
from dataclasses import replace

from harness.hangs.evidence import GuestThread, StackFrame

# Shell built-ins only, since each program that a guest in trouble has to start may hang too. The
# fields after the name in `stat` (proc(5)): state, then the flags as the seventh (PF_KTHREAD is
# 0x200000, include/linux/sched.h), the CPU as the 37th. `stack` is for root (CONFIG_STACKTRACE).
_LINUX = r"""
for task in /proc/[0-9]*/task/[0-9]*; do
    read -r line < $task/stat || continue
    name=${line#*(}
    set -- ${line##*) }
    [ $(($7 & 0x200000)) = 0 ] || [ "$1" = D ] || continue
    process=${task%/task/*}
    [ ${task##*/} = $$ ] && continue
    read -r syscall rest < $task/syscall
    echo "task ${task##*/} of process ${process##*/} (${name%)*}): state $1, CPU ${37}, \
system call $syscall"
    while read -r frame; do echo "  $frame"; done < $task/stack
done 2>/dev/null
"""

TASKS_COMMANDS = {"linux": _LINUX}
"""For each system: prints every user task, and every task in disk sleep, with its kernel stack."""

_TASK = re.compile(r"(?P<name>task \d+ of process .*): (?P<state>state \S+), CPU .*")
_FRAME = re.compile(
    r"\s+\[<[0-9a-f]+>\] (?P<function>[\w.]+)\+(?P<offset>0x[0-9a-f]+)/0x[0-9a-f]+"
    r"(?: \[(?P<module>\w+)\])?"
)


def tasks_as_threads(text: str, system: str) -> tuple[GuestThread, ...]:
    """The threads in what a guest said of its tasks; none for a system that is not asked.

    Linux's stacks are those of /proc/<pid>/stack, without addresses.
    """
    if system != "linux":
        return ()
    threads: list[GuestThread] = []
    frames: list[StackFrame] = []
    for line in [*text.splitlines(), None]:
        task = _TASK.fullmatch(line) if line is not None else None
        if (task or line is None) and threads:
            threads[-1] = replace(threads[-1], stack=tuple(frames))
        if task:
            threads.append(GuestThread(task["name"], task["state"]))
            frames = []
        elif line is not None and (found := _FRAME.fullmatch(line)):
            frames.append(
                StackFrame(0, found["function"], int(found["offset"], 16), found["module"])
            )
    return tuple(threads)
