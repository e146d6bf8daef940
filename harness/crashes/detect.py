# SPDX-License-Identifier: BSD-2-Clause
"""Say which system wrote a console, from what only that system prints."""

import re

_LOOKED_AT = 4 << 20
"""Bytes at each end of a console that are looked at: its boot and its end say enough."""

# The rarest first: where two have as many marks, it wins.
_MARKS: dict[str, re.Pattern[bytes]] = {
    "gnumach": re.compile(
        # its lines end with "\n\r"
        rb"^\r?(?:GNU Mach \d|panic \S{1,200}\.[ch]:\d|Kernel [A-Z][\w ]{2,40} trap, "
        rb"|kernel trap, type \d)|\{cpu\d{1,3}\} "
        rb"|\.\./(?:kern|vm|ipc|i386|device|ddb)/\w{1,60}\.c:\d",
        re.M,
    ),
    "freebsd": re.compile(
        rb"The FreeBSD Project|^KDB: |^cpuid = \d|^Fatal trap \d|^(?:[\w. -]{1,40}: )?panic: "
        rb"|^\w{1,80}\(\) at \w{1,80}\+0x|^#\d{1,3} 0x[0-9a-f]{8,16} at |^fatal kernel trap:"
        rb"|^lock order reversal:|^Stopped at {4,12}\w",
        re.M,
    ),
    "linux": re.compile(
        rb"^(?:<\d{1,3}>)?\[ {0,5}\d{1,10}\.\d{6}\]|\bLinux version \d|Kernel panic - not syncing"
        rb"|^Call [Tt]race:|\bBUG: |\bWARNING: |\bINFO: |---\[ end |^CPU: \d{1,5} PID: \d"
        rb"|\[#\d{1,4}\]|^RIP: 0|^Oops|SYZFA",
        re.M,
    ),
}


def detect_system(console: bytes) -> str:
    """Return the system that wrote `console`: `linux`, `freebsd` or `gnumach`.

    A console that shows none of the systems' marks is taken for Linux's.
    """
    if len(console) > 2 * _LOOKED_AT:
        console = console[:_LOOKED_AT] + b"\n" + console[-_LOOKED_AT:]
    counts = {system: len(mark.findall(console)) for system, mark in _MARKS.items()}
    best = max(counts, key=lambda system: counts[system])
    return best if counts[best] else "linux"
