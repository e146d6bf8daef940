# SPDX-License-Identifier: BSD-2-Clause
"""A function's instructions in a form that patterns can be written for."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from harness.errors import ConfigurationError
from harness.places.disassemble import Flow, Instruction, disassemble
from harness.places.symbols import SymbolTable

_NUMBER = re.compile(r"(?<![\w@])(?:0x[0-9a-f]+|\d+)(?!\w)")
_RELATIVE = re.compile(r"\[rip (?P<sign>[+-]) (?P<by>0x[0-9a-f]+)\]")
_ABSOLUTE = re.compile(r"ptr \[(?P<at>0x[0-9a-f]+)\]")
_NO_CHANGE = re.compile(r"lea (?P<register>\w+), (?:[c-g]s:)?\[(?P=register)(?: \+ eiz.*)?\]")
_NO_OFFSET = re.compile(r" [+-] 0x0\]")


@dataclass(frozen=True)
class Line:
    """One instruction: capstone's text with symbols for addresses and hexadecimal numbers.

    `call <name>`, `je @0xffffffff81234567` within the function, `mov rax, qword ptr [<name>]`.
    """

    insn: Instruction
    text: str

    @property
    def is_padding(self) -> bool:
        """Whether it is there for alignment and does nothing."""
        return "nop" in self.text.split() or _NO_CHANGE.fullmatch(self.text) is not None


def listing(
    arch: str, code: bytes, start: int, symbols: SymbolTable, parts: Sequence[range] = ()
) -> tuple[Line, ...]:
    """The instructions of a function, or of a part of it, from virtual address `start` on.

    `parts` are the addresses of the function's other parts.
    """
    function = (range(start, start + len(code)), *parts)
    return tuple(
        Line(insn, canonical_text(insn, function, symbols))
        for insn in disassemble(arch, code, start)
    )


def canonical_text(insn: Instruction, function: Sequence[range], symbols: SymbolTable) -> str:
    """An instruction's text; `function` is where the function is, for what counts as outside."""
    if insn.target is not None:
        operation = insn.text.split(" ", 1)[0]
        inside = insn.flow is not Flow.CALL and any(insn.target in part for part in function)
        return f"{operation} {f'@{insn.target:#x}' if inside else name_of(insn.target, symbols)}"
    text = insn.text

    def relative(found: re.Match[str]) -> str:
        by = int(found["by"], 16) * (1 if found["sign"] == "+" else -1)
        return f"[{name_of(insn.end + by, symbols)}]"

    text = _NUMBER.sub(lambda found: f"{int(found[0], 0):#x}", text)
    text = _RELATIVE.sub(relative, text)
    text = _ABSOLUTE.sub(lambda found: f"ptr [{name_of(int(found['at'], 16), symbols)}]", text)
    return _NO_OFFSET.sub("]", text)


def name_of(address: int, symbols: SymbolTable) -> str:
    """`<name>` of the code or data symbol at exactly an address; the address if there is none."""
    names = sorted(symbol.name for symbol in symbols.symbols if symbol.address == address)
    return f"<{names[0]}>" if names else f"{address:#x}"


def address_of(name: str, symbols: SymbolTable) -> int:
    """The address of a symbol. Raises ConfigurationError if there is none or several."""
    found = {symbol.address for symbol in symbols.named(name)}
    if len(found) != 1:
        how = "no" if not found else f"{len(found)} different"
        raise ConfigurationError(f"{symbols.source} has {how} symbols {name}; expected one")
    return found.pop()
