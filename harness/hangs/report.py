# SPDX-License-Identifier: BSD-2-Clause
"""A hang as text that can be pasted into a mail to a maintainer."""

import re
from collections.abc import Sequence

from harness.console.text import printable_text
from harness.hangs.evidence import Awaited, GuestThread, Hang, StackFrame, Vcpu

_SHOWN = re.compile(
    r"[re][a-d]x|[re]ip|r\d+|[re][ds]i|[re][bs]p|x\d+|[ps][cp]|eflags|[cs]s|cpsr|msr|cr|lr|ctr"
)
_COLUMNS = 4


def hang_as_text(hang: Hang) -> str:
    """All of it: kind, reason, each vCPU with its stack and registers, the guest's tasks."""
    answer = (
        f"init answered after {hang.answer_seconds * 1000:.0f} ms"
        if hang.answers
        else f"init did not answer within {hang.answer_seconds:.1f} s"
    )
    lines = [
        f"hang: {hang.kind}",
        f"  {hang.reason}",
        f"  QEMU: {hang.run_state}; {answer}; console: {hang.console_rate:,.0f} bytes a second "
        f"(watched for {hang.watched_seconds:.1f} s)",
    ]
    lines += [f"  note: {note}" for note in hang.notes]
    for vcpu in hang.vcpus:
        lines += ["", *_vcpu_lines(vcpu)]
    for thread in hang.threads:
        if not hang.tasks:  # what the guest says itself is shown as it says it
            lines += ["", *_thread_lines(thread)]
    if any(not frame.reliable for vcpu in hang.vcpus for frame in vcpu.stack):
        lines += ["", "?: a return address found on the stack that nothing confirms"]
    if hang.tasks:
        lines += ["", "tasks:", *("  " + line for line in printable_text(hang.tasks).splitlines())]
    return "\n".join(lines) + "\n"


def _vcpu_lines(vcpu: Vcpu) -> list[str]:
    title = f"vCPU {vcpu.index}:"
    if vcpu.busy is not None:
        title += f" {vcpu.busy:.0%} busy"
    if vcpu.samples:
        title += f", waiting in {vcpu.halted_share:.0%} of {len(vcpu.samples)} samples"
    lines = [title]
    if vcpu.samples and vcpu.halted_share < 1:
        places = ", ".join(f"{place} {share:.0%}" for place, share in vcpu.top_places(5))
        lines.append(f"  else in: {places}")
    if vcpu.stack:
        lines += ["  Call Trace:", *(f"   {line}" for line in frames_as_text(vcpu.stack))]
    if vcpu.registers:
        lines += [f"  {line}" for line in _register_lines(vcpu.registers)]
    return lines


def _thread_lines(thread: GuestThread) -> list[str]:
    where = f", on vCPU {thread.vcpu}" if thread.vcpu is not None else ""
    lines = [f"{thread.name}: {thread.state}{where}"]
    if thread.awaits is not None:
        lines.append(f"  waits for {awaited_as_text(thread.awaits)}")
    shown = [_frame_as_text(frame) for frame in thread.stack]
    return lines + [f"   {line}" for line in shown]


def awaited_as_text(awaited: Awaited) -> str:
    """What a thread waits for, in one line."""
    named = f" ({awaited.name})" if awaited.name else ""
    state = ", ".join(f"{name} {value}" for name, value in awaited.state.items())
    return f"{awaited.kind} {awaited.address:#x}{named}" + (f": {state}" if state else "")


def frames_as_text(frames: Sequence[StackFrame]) -> list[str]:
    """Each frame as Linux prints it, `?` where it is in doubt, file and line where known."""
    shown = [_frame_as_text(frame) for frame in frames]
    # the others are return addresses: the difference matters to who looks up lines
    at = next((at for at, frame in enumerate(frames) if not frame.inlined), 0)
    return [f"pc: {text}" if n == at else text for n, text in enumerate(shown)]


def _frame_as_text(frame: StackFrame) -> str:
    if frame.inlined:
        text = f"{frame.function}"
    elif frame.function is None:
        text = f"{frame.address:#x}"
    else:
        text = f"{frame.function}+{frame.offset:#x}"
    if frame.module:
        text += f" [{frame.module}]"
    if frame.file:
        text += f" {frame.file}:{frame.line}"
    if frame.inlined:
        text += " [inline]"
    return text if frame.reliable else f"? {text}"


def _register_lines(registers: dict[str, int]) -> list[str]:
    shown = [
        f"{name:>7}: {value:016x}" for name, value in registers.items() if _SHOWN.fullmatch(name)
    ]
    return ["".join(shown[at : at + _COLUMNS]) for at in range(0, len(shown), _COLUMNS)]
