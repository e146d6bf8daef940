# SPDX-License-Identifier: BSD-2-Clause
"""A tiny kernel whose one function has a fix that can be taken out."""

import json
import subprocess
from pathlib import Path
from typing import Any

_C = """
struct links { struct item *prev, *next; };
struct item { struct links links; unsigned long end; unsigned marked : 1, other : 3; };
struct item *keep(struct item *item) { item->marked = 1; item->other = 2; return item->links.next; }
"""
# Marks each item up to an end, unlocks, and walks again.
_CODE = """
.text
.intel_syntax noprefix
.globl _start, mark, unlock, work
.type mark, @function
.type unlock, @function
.type work, @function
_start: ret
unlock: ret
work: ret
mark:
    push {walker}
    mov {walker}, rdi
1:  or byte ptr [{walker} + 24], {mask}
    mov {walker}, qword ptr [{walker} + 8]
    cmp rdi, {walker}
    jne 1b
    call unlock
    mov rdi, {walker}
    call work
    pop {walker}
{tail}
.size mark, . - mark
{elsewhere}
.att_syntax
"""

PATCH: dict[str, Any] = {
    "title": "no marks",
    "arch": "x86_64",
    "function": "mark",
    "label": "un-fixed",
    "fields": {"next": "item.links.next", "marked": "item.marked"},
    "find": [
        {
            "name": "marking",
            "code": """
mov %walker, rdi
again: or byte ptr [%walker + $marked], $marked.mask
mov %walker, qword ptr [%walker + $next]
cmp rdi, %walker | cmp %walker, rdi
jne @again
unlock: call <unlock>
""",
        }
    ],
    "edit": [{"name": "no-marks", "start": "again", "to": "unlock", "code": "jmp @unlock"}],
    "after": {
        "never": ["or byte ptr [* + $marked], *"],
        "always": ["call <unlock>", "call <work>"],
    },
}


def build_kernel(
    folder: Path,
    walker: str = "rbx",
    mask: str = "1",
    debug: bool = True,
    tail: str = "ret",
    elsewhere: str = "",
) -> bytes:
    """Builds it: `walker` is the register it walks with, `mask` the mark's bit.

    `tail` is how the function ends, `elsewhere` code behind it.
    """
    code = _CODE.format(walker=walker, mask=mask, tail=tail, elsewhere=elsewhere)
    (folder / "item.c").write_text(f"asm({json.dumps(code)});\n{_C}")
    options = ["-g", "-gdwarf-5"] if debug else ["-g0"]
    command = ["gcc", *options, "-O1", "-nostdlib", "-static", "-no-pie", "-fno-pie"]
    command += ["-Wl,--build-id=none", "-o", "kernel", "item.c"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return (folder / "kernel").read_bytes()
