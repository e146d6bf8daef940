# SPDX-License-Identifier: BSD-2-Clause
"""Hostile consoles: time grows with the length, not with what stands in it."""

import time

import pytest

from harness.crashes import parse_console

from .linux_goldens import GOLDENS

SIZE = 400_000
BYTES_PER_SECOND = 150_000
"""A tenth of what a loaded machine does: what backtracks is slower by orders of magnitude."""

HOSTILE = {
    "one long line": b"a" * SIZE,
    "brackets": b"[" * SIZE,
    "stamps": b"[   12.345678] " * (SIZE // 15),
    "stamps without end": (b"[" + b" " * 100 + b"1\n") * (SIZE // 103),
    "spaces": (b" " * 1500 + b"\n") * (SIZE // 1500),
    "spaces in a report": b"BUG: KASAN: use-after-free in x\n" + (b" " * 1500 + b"\n") * 260,
    "words in a report": b"[ 1.000000] BUG: x\n" + (b"a b " * 400 + b"\n") * 250,
    "frames that never end": b"BUG: KASAN: use-after-free in x\n" + (b" a" * 700 + b"+0x1\n") * 280,
    "addresses": b"BUG: KASAN: use-after-free in x\n" + (b"ffff888004a3c000 " * 80 + b"\n") * 290,
    "openings": b"BUG: KASAN: use-after-free in x\n" * (SIZE // 32),
    "half openings": b"INFO: task " * (SIZE // 11),
    "tasks": (b"INFO: task " + b"x" * 900 + b" blocked for\n") * (SIZE // 925),
    "escapes": b"\x1b[" * (SIZE // 2),
    "digits": (b"[ 1.000000] BUG: " + b"1" * 1900 + b"\n") * (SIZE // 1900),
    "dots": (b"[ 1.000000] WARNING: " + b"x." * 900 + b"+0x\n") * (SIZE // 1900),
    "mangled": (b"BUG: KASAN: x in y\n _RNvB" + b"_" * 900 + b"+0x1/0x2\n") * (SIZE // 930),
    "mangled deep": (b"BUG: KASAN: x in y\n _R" + b"NvMIS" * 70 + b"+0x1/0x2\n") * (SIZE // 380),
    "suffixes": (b"BUG: KASAN: x in y\n f" + b".isra.1" * 30 + b"+0x1/0x2\n") * (SIZE // 240),
    "carriage returns": b"\r" * SIZE,
    "empty lines": b"\n" * SIZE,
    "marks": b"---[ end \n" * (SIZE // 10),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("system", ["linux", "freebsd", "gnumach"])
def test_hostile_console_is_linear(name: str, system: str) -> None:
    console = HOSTILE[name]
    began = time.process_time()
    parse_console(console, system)
    assert time.process_time() - began < len(console) / BYTES_PER_SECOND


def test_all_goldens_again_and_again() -> None:
    console = ("\n".join("\n".join(golden.lines) for golden in GOLDENS) + "\n").encode() * 4
    began = time.process_time()
    assert len(parse_console(console, "linux")) > len(GOLDENS)
    assert time.process_time() - began < len(console) / BYTES_PER_SECOND
