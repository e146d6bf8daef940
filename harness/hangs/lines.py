# SPDX-License-Identifier: BSD-2-Clause
"""Source files and lines for the stacks of a hang, where the kernel's DWARF is at hand."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from harness.hangs.evidence import Hang, StackFrame
from harness.symbolize import SourceLines


def add_lines(hang: Hang, lines: SourceLines) -> Hang:
    """The hang with file and line at every frame that `lines` knows, inlined frames among them.

    `lines` must be of the kernel that hung; functions and offsets are looked up, not addresses, so
    that it does not matter where the kernel was loaded.
    """

    def stack(frames: Sequence[StackFrame], *, is_running: bool) -> tuple[StackFrame, ...]:
        return tuple(
            found
            for depth, frame in enumerate(frames)
            for found in _with_lines(
                frame, lines, is_return_address=frame.offset > 0 and not (is_running and depth == 0)
            )
        )

    return replace(
        hang,
        vcpus=tuple(replace(v, stack=stack(v.stack, is_running=True)) for v in hang.vcpus),
        threads=tuple(
            replace(thread, stack=stack(thread.stack, is_running=thread.vcpu is not None))
            for thread in hang.threads
        ),
    )


def _with_lines(
    frame: StackFrame, lines: SourceLines, *, is_return_address: bool
) -> Iterator[StackFrame]:
    symbol = None
    if frame.function is not None and frame.module is None:
        symbol = lines.function_at(frame.function, frame.offset, None)
    at = symbol.address + frame.offset - is_return_address if symbol is not None else None
    found = lines.frames_at(at) if at is not None else ()
    for source in found[:-1]:
        yield replace(
            frame, function=source.function, inlined=True, file=source.file, line=source.line
        )
    yield replace(frame, file=found[-1].file, line=found[-1].line) if found else frame
