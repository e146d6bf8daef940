# SPDX-License-Identifier: BSD-2-Clause
"""The language of places: what a target or a user writes for a spot in the code.

symbol                      the function's first instruction
symbol+0x1c                 so many bytes in; also symbol+0x1c/0x6a0 as a kernel prints it
symbol:return               every return instruction of the function
symbol:after(callee)        the instruction after the call of callee: callee has returned
symbol:after(callee, 2)     after the second such call, by address
symbol:call(callee)         the call instruction: all before it is done, callee is not entered
syscall(name)...            the system call's function, whatever the architecture calls it
module!symbol...            in a loaded module
file.c:123                  the code of a source line (needs DWARF)
0xffffffff81250000          an address of this one build
workload:place              any of them, but module and syscall, in the user-space workload
"""

import re
from dataclasses import dataclass

from harness.errors import ConfigurationError

FORMS = (
    "symbol, symbol+0x1c, symbol:return, symbol:after(callee), symbol:call(callee), "
    "syscall(name), module!symbol, file.c:123, 0xADDRESS or workload:PLACE"
)
_ADDRESS_LIMIT = 2**64
_ORDINAL_LIMIT = 10_000


@dataclass(frozen=True)
class Entry:
    """The function's first instruction (on ppc64le the one that every caller comes to)."""

    def __str__(self) -> str:
        return ""


@dataclass(frozen=True)
class Offset:
    """So many bytes behind the symbol; `size` is the function's size in bytes where it was given.

    The size is what `symbol+offset/size` in a kernel's report has; it shows another build.
    """

    bytes: int
    size: int | None = None

    def __str__(self) -> str:
        return f"+{self.bytes:#x}" + (f"/{self.size:#x}" if self.size is not None else "")


@dataclass(frozen=True)
class Return:
    """Every return instruction of the function."""

    def __str__(self) -> str:
        return ":return"


@dataclass(frozen=True)
class After:
    """The instruction after a call; `ordinal` (from 1, by address) picks one of several calls."""

    callee: str
    ordinal: int | None = None

    def __str__(self) -> str:
        return f":after({_call_text(self.callee, self.ordinal)})"


@dataclass(frozen=True)
class Call:
    """The call instruction itself; `ordinal` (from 1, by address) picks one of several calls."""

    callee: str
    ordinal: int | None = None

    def __str__(self) -> str:
        return f":call({_call_text(self.callee, self.ordinal)})"


Position = Entry | Offset | Return | After | Call


@dataclass(frozen=True)
class FunctionPlace:
    """A position in a function of the kernel, of a module, or of the workload.

    With `is_syscall` the name is a system call's, such as `personality`.
    """

    function: str
    position: Position = Entry()
    module: str | None = None
    is_syscall: bool = False
    in_workload: bool = False

    def __str__(self) -> str:
        name = f"syscall({self.function})" if self.is_syscall else self.function
        return f"{_prefix(self.module, self.in_workload)}{name}{self.position}"


@dataclass(frozen=True)
class LinePlace:
    """The code of a source line; `file` is a path or its end (`memory.c`, `mm/memory.c`)."""

    file: str
    line: int
    module: str | None = None
    in_workload: bool = False

    def __str__(self) -> str:
        return f"{_prefix(self.module, self.in_workload)}{self.file}:{self.line}"


@dataclass(frozen=True)
class AddressPlace:
    """A virtual address of one build."""

    address: int
    in_workload: bool = False

    def __str__(self) -> str:
        return f"{_prefix(None, self.in_workload)}{self.address:#x}"


Place = FunctionPlace | LinePlace | AddressPlace

_NUMBER = r"0[xX][0-9a-fA-F]+|[0-9]+"
_SYMBOL = r"[A-Za-z_.$][\w.$]*"
_ADDRESS = re.compile(r"0[xX][0-9a-fA-F]+", re.ASCII)
_MODULE = re.compile(r"(?P<module>[\w-]+)!", re.ASCII)
_LINE = re.compile(r"(?P<file>[\w./+-]*[A-Za-z_][\w./+-]*):(?P<line>[0-9]+)", re.ASCII)
_FUNCTION = re.compile(rf"syscall\(\s*(?P<call>\w+)\s*\)|(?P<name>{_SYMBOL})", re.ASCII)
_OFFSET = re.compile(rf"\+(?P<bytes>{_NUMBER})(?:/(?P<size>{_NUMBER}))?", re.ASCII)
_CALL = re.compile(
    rf":(?P<what>after|call)\(\s*(?P<callee>{_SYMBOL})\s*(?:,\s*(?P<ordinal>[0-9]+)\s*)?\)",
    re.ASCII,
)


def parse_place(text: str) -> Place:
    """Read a place; `str()` of the result is its canonical text.

    Raises ConfigurationError that shows the text with a caret below the first wrong character.
    """
    body = text.strip()
    if len(body) > 1000 or not body.isprintable():
        raise ConfigurationError(f"place {body[:60]!r}: expected one line of {FORMS}")
    at = 0
    in_workload = body.startswith("workload:")
    if in_workload:
        at = len("workload:")
    if _ADDRESS.fullmatch(body, at):
        address = int(body[at:], 16)
        if address >= _ADDRESS_LIMIT:
            raise _error(body, at, "an address has at most 64 bits")
        return AddressPlace(address, in_workload)
    module: str | None = None
    if match := _MODULE.match(body, at):
        if in_workload:
            raise _error(body, at, "the workload has no modules")
        module, at = match["module"].replace("-", "_"), match.end()
    if match := _LINE.fullmatch(body, at):
        line = int(match["line"])
        if line == 0:
            raise _error(body, match.start("line"), "lines count from 1")
        return LinePlace(match["file"], line, module, in_workload)
    match = _FUNCTION.match(body, at)
    if match is None:
        raise _error(body, at, f"expected a place: {FORMS}")
    is_syscall = match["name"] is None
    if is_syscall and (in_workload or module):
        raise _error(body, at, "system calls are in the kernel itself: write syscall(name) alone")
    position, end = _position(body, match.end())
    if end != len(body):
        raise _error(
            body, end, "expected the end, +0xOFFSET, :return, :after(callee) or :call(callee)"
        )
    name: str = match["name"] or match["call"]
    return FunctionPlace(name, position, module, is_syscall, in_workload)


def _position(body: str, at: int) -> tuple[Position, int]:
    if match := _OFFSET.match(body, at):
        size = int(match["size"], 0) if match["size"] else None
        return Offset(_number(body, match, "bytes"), size), match.end()
    if body.startswith(":return", at):
        return Return(), at + len(":return")
    if match := _CALL.match(body, at):
        ordinal = None
        if match["ordinal"]:
            ordinal = int(match["ordinal"])
            if not 1 <= ordinal <= _ORDINAL_LIMIT:
                raise _error(body, match.start("ordinal"), "calls count from 1")
        kind = After if match["what"] == "after" else Call
        return kind(match["callee"], ordinal), match.end()
    return Entry(), at


def _number(body: str, match: re.Match[str], group: str) -> int:
    digits = match[group]
    if len(digits) > 1 and digits[0] == "0" and digits[1] not in "xX":
        raise _error(body, match.start(group), "write the number with 0x or without leading 0")
    return int(digits, 0)


def _prefix(module: str | None, in_workload: bool) -> str:
    return "workload:" if in_workload else f"{module}!" if module else ""


def _call_text(callee: str, ordinal: int | None) -> str:
    return callee if ordinal is None else f"{callee}, {ordinal}"


def _error(body: str, at: int, message: str) -> ConfigurationError:
    return ConfigurationError(f"place: {message}\n  {body}\n  {' ' * at}^")
