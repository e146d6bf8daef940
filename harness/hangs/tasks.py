# SPDX-License-Identifier: BSD-2-Clause
"""What a guest that still answers says of its tasks: shell commands for its init, by system."""

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
