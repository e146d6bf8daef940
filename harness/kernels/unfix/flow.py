# SPDX-License-Identifier: BSD-2-Clause
"""Which instructions of a function can be reached, and from where."""

from collections.abc import Container, Sequence

from harness.errors import ConfigurationError
from harness.kernels.unfix.listing import Line
from harness.places.disassemble import Flow

Parts = Sequence[Sequence[Line]]
"""A function's instructions: itself, then what the compiler moved away as unlikely (`.cold`)."""


def reachable(parts: Parts, start: int, beginnings: Container[int], name: str) -> tuple[Line, ...]:
    """The instructions that the function may execute from address `start` on, lowest first.

    `beginnings` are the addresses of all functions: a jump to another one's is the function's end.
    A call is taken to return. Raises ConfigurationError where the code cannot be followed: a jump
    into the middle of an instruction or of another function, through a table, or off a part's end.
    """
    by_address = {line.insn.address: line for part in parts for line in part}
    ends = {part[-1].insn.end for part in parts if part}
    inside = [range(part[0].insn.address, part[-1].insn.end) for part in parts if part]
    found: dict[int, Line] = {}
    todo = [start]
    while todo:
        address = todo.pop()
        if address in found:
            continue
        line = by_address.get(address)
        if line is None or line.text.startswith(".byte"):
            raise ConfigurationError(f"{name}: no instruction begins at {address:#x}")
        found[address] = line
        insn = line.insn
        if insn.flow is Flow.JUMP:
            if insn.target is None:
                raise ConfigurationError(
                    f"{name}: the jump `{line.text}` at {address:#x} cannot be followed"
                )
            if any(insn.target in part for part in inside):
                todo.append(insn.target)
            elif insn.target not in beginnings:
                raise ConfigurationError(
                    f"{name}: the jump `{line.text}` at {address:#x} cannot be followed: "
                    "no function begins there, and it is no part of this one"
                )
        goes_on = insn.flow in (Flow.NEXT, Flow.CALL) or insn.is_conditional
        if goes_on and not (insn.end in ends and insn.flow is Flow.CALL):
            todo.append(insn.end)
    return tuple(found[address] for address in sorted(found))
