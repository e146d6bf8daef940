# SPDX-License-Identifier: BSD-2-Clause
"""How fast the crash parser reads a console, against only reading it and splitting its lines.

    python bench/crash_parse.py [--megabytes N] [--reports-per-megabyte N]

The console is made up: boot noise with crash reports of several sorts strewn in. Times are CPU
seconds of this process; the baseline reads the same file in the same chunks and splits each into
lines. The last line is one JSON object: mb_per_second (10^6 bytes per CPU second), ratio (the
parser's time over the baseline's), reports, megabytes, peak_kib (memory that the parser held at
most, in KiB).
"""

import argparse
import json
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness.crashes import ReportStream

CHUNK = 1 << 16
NOISE = (
    "usb 1-1: New USB device found, idVendor=0424, idProduct=7850, bcdDevice= 0.00",
    "EXT4-fs (vda): mounted filesystem with ordered data mode. Quota mode: none.",
    "IPv6: ADDRCONF(NETDEV_CHANGE): eth0: link becomes ready",
    "audit: type=1400 audit(1750305980.320:67): avc:  denied  { mount } for  pid=297",
    "systemd[1]: Started Daily apt download activities.",
    "clocksource: Switched to clocksource tsc",
)
FRAMES = tuple(f" toy_function_{index}+0x{index:x}/0x1f0" for index in range(1, 31))
REGISTERS = tuple(
    f"R{index:02d}: 0000000000000000 R{index + 1:02d}: ffff888004a3c000" for index in range(8, 14)
)
OPENINGS = (
    ("general protection fault, probably for non-canonical address 0xdffffc0000000002: 0000 [#1]",),
    ("BUG: KASAN: use-after-free in toy_walk+0x4f/0x90", "Read of size 8 at addr ffff888004a3c010"),
    ("------------[ cut here ]------------",
     "WARNING: CPU: 1 PID: 314 at drivers/toy/toy.c:63 toy_walk+0x2f/0x90"),
    ("INFO: task race:314 blocked for more than 122 seconds.", "      Not tainted 6.1.0 #1"),
)  # fmt: skip


def write_console(path: Path, megabytes: int, reports: int) -> None:
    """Write `megabytes` of console with `reports` crash reports in each megabyte."""
    seconds = 0
    with path.open("wb") as file:
        for megabyte in range(megabytes):
            size, told = 0, 0
            while size < 1_000_000:
                seconds += 1
                lines = list(NOISE * 3)
                if told < reports and size >= told * 1_000_000 // max(reports, 1):
                    first = OPENINGS[(megabyte + told) % len(OPENINGS)]
                    lines += [
                        *first, "CPU: 1 PID: 314 Comm: race Not tainted 6.1.0 #1",
                        "RIP: 0010:toy_walk+0x2f/0x90", *REGISTERS, "Call Trace:", *FRAMES,
                        "---[ end trace 0000000000000000 ]---",
                    ]  # fmt: skip
                    told += 1
                text = "".join(
                    f"[{seconds:5d}.{index:06d}] {line}\n" for index, line in enumerate(lines)
                )
                size += file.write(text.encode())


def chunks_through(path: Path, take: Callable[[bytes], object]) -> float:
    """Give the file's chunks to `take`; return the CPU seconds that took."""
    began = time.process_time()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            take(chunk)
    return time.process_time() - began


def main() -> None:
    """Measure, and print the result."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--megabytes", type=int, default=100)
    arguments.add_argument("--reports-per-megabyte", type=int, default=20)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "console"
        write_console(path, options.megabytes, options.reports_per_megabyte)
        size = path.stat().st_size
        baseline = chunks_through(path, bytes.splitlines)
        stream = ReportStream("linux")
        count = 0

        def take(chunk: bytes) -> None:
            nonlocal count
            count += len(stream.feed(chunk))

        parser = chunks_through(path, take)
        count += len(stream.close())

        head = Path(folder) / "head"
        with path.open("rb") as file:
            head.write_bytes(file.read(4_000_000))
        tracemalloc.start()
        chunks_through(head, ReportStream("linux").feed)
        peak = tracemalloc.get_traced_memory()[1]
    print(
        json.dumps(
            {
                "bench": "crash_parse",
                "megabytes": round(size / 1e6, 1),
                "reports": count,
                "mb_per_second": round(size / 1e6 / parser, 2),
                "ratio": round(parser / baseline, 2),
                "peak_kib": round(peak / 1024),
            }
        )
    )


if __name__ == "__main__":
    main()
