# SPDX-License-Identifier: BSD-2-Clause
"""Which instructions of a function can be reached, and from where."""

from collections.abc import Sequence

from harness.errors import ConfigurationError
from harness.kernels.unfix.listing import Line
from harness.places.disassemble import Flow


def reachable(lines: Sequence[Line], start: int, name: str) -> tuple[Line, ...]:
    """The instructions that the function may execute from address `start` on, lowest first.

    A call is taken to return. Raises ConfigurationError where the code cannot be followed: a jump
    into the middle of an instruction, through a table, or off the function's end.
    """
    by_address = {line.insn.address: line for line in lines}
    inside = range(lines[0].insn.address, lines[-1].insn.end) if lines else range(0)
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
            if insn.target in inside:
                todo.append(insn.target)
        goes_on = insn.flow in (Flow.NEXT, Flow.CALL) or insn.is_conditional
        if goes_on and not (insn.end not in inside and insn.flow is Flow.CALL):
            todo.append(insn.end)
    return tuple(found[address] for address in sorted(found))
