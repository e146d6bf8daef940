# SPDX-License-Identifier: BSD-2-Clause
"""Turn mangled Rust and C++ symbols into the names that their authors wrote.

Rust: the v0 scheme (RFC 2603), as far as kernels' symbols use it. C++: nested names of the Itanium
ABI without templates. What is not understood stays as it is.
"""

from collections.abc import Callable
from functools import lru_cache

_BASIC_TYPES = {
    "a": "i8", "b": "bool", "c": "char", "d": "f64", "e": "str", "f": "f32", "h": "u8",
    "i": "isize", "j": "usize", "l": "i32", "m": "u32", "n": "i128", "o": "u128", "p": "_",
    "s": "i16", "t": "u16", "u": "()", "v": "...", "x": "i64", "y": "u64", "z": "!",
}  # fmt: skip
_POINTERS = {"R": "&", "Q": "&mut ", "P": "*const ", "O": "*mut "}
_DEPTH = 40
_LENGTH = 400


class _NotUnderstoodError(Exception):
    """The symbol uses what this reader does not know."""


class _Rust:
    """A reader of one v0 symbol; positions count from behind the `_R`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0

    def take(self) -> str:
        if self.at >= len(self.text):
            raise _NotUnderstoodError
        self.at += 1
        return self.text[self.at - 1]

    def skip_if(self, char: str) -> bool:
        if self.text.startswith(char, self.at):
            self.at += 1
            return True
        return False

    def base62(self) -> int:
        if self.skip_if("_"):
            return 0
        value = 0
        while (char := self.take()) != "_":
            if not char.isalnum() or not char.isascii():
                raise _NotUnderstoodError
            digit = int(char, 36) + (26 if char.isupper() else 0)
            value = value * 62 + digit
        return value + 1

    def identifier(self) -> str:
        if self.skip_if("s"):
            self.base62()
        digits = ""
        while self.text[self.at : self.at + 1].isdigit() and len(digits) < 4:
            digits += self.take()
        if not digits:
            raise _NotUnderstoodError
        self.skip_if("_")
        size = int(digits)
        name = self.text[self.at : self.at + size]
        if len(name) < size:
            raise _NotUnderstoodError
        self.at += size
        return name

    def back(self, read: Callable[["_Rust"], str]) -> str:
        start = self.at - 1
        target = self.base62()
        # A reference may only point backwards: no endless loops.
        if target >= start:
            raise _NotUnderstoodError
        resume, self.at = self.at, target
        text = read(self)
        self.at = resume
        return text

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > _DEPTH:
            raise _NotUnderstoodError

    def path(self) -> str:
        self.deeper()
        tag = self.take()
        if tag == "C":
            text = self.identifier()
        elif tag == "N":
            self.take()
            parent = self.path()
            name = self.identifier()
            text = f"{parent}::{name}" if name else parent
        elif tag in "MX":
            if self.skip_if("s"):
                self.base62()
            self.path()
            text = self.type()
            text = f"<{text}>" if tag == "M" else f"<{text} as {self.path()}>"
        elif tag == "Y":
            text = self.type()
            text = f"<{text} as {self.path()}>"
        elif tag == "I":
            text = self.path()
            arguments = self.arguments()
            text = f"{text}::<{arguments}>" if arguments else text
        elif tag == "B":
            text = self.back(_Rust.path)
        else:
            raise _NotUnderstoodError
        self.depth -= 1
        return text

    def arguments(self) -> str:
        found = []
        while not self.skip_if("E"):
            if self.skip_if("L"):
                self.base62()
            elif self.skip_if("K"):
                raise _NotUnderstoodError
            else:
                found.append(self.type())
        return ", ".join(found)

    def type(self) -> str:
        self.deeper()
        tag = self.take()
        if tag in _BASIC_TYPES:
            text = _BASIC_TYPES[tag]
        elif tag in _POINTERS:
            if self.skip_if("L"):
                self.base62()
            text = _POINTERS[tag] + self.type()
        elif tag == "S":
            text = f"[{self.type()}]"
        elif tag == "T":
            text = f"({self.arguments()})"
        elif tag == "B":
            text = self.back(_Rust.type)
        else:
            self.at -= 1
            text = self.path()
        self.depth -= 1
        return text


def _cpp(text: str) -> str:
    """Read `[N] length name … [E]`; parameters, which follow, are dropped."""
    nested = text.startswith("N")
    at = 1 if nested else 0
    names: list[str] = []
    while at < len(text) and text[at].isdigit() and (nested or not names):
        digits = text[at : at + 3]
        digits = digits[: len(digits) - len(digits.lstrip("0123456789"))]
        at += len(digits)
        names.append(text[at : at + int(digits)])
        at += int(digits)
    if not names or at > len(text) or (nested and not text.startswith("E", at)):
        raise _NotUnderstoodError
    return "::".join(names)


@lru_cache(maxsize=10_000)
def demangle(symbol: str) -> str:
    """Return the name behind `symbol`, or `symbol` itself where it is no mangled name."""
    if len(symbol) > _LENGTH:
        return symbol
    try:
        if symbol.startswith("_R"):
            return _Rust(symbol[2:]).path()
        if symbol.startswith("_Z"):
            return _cpp(symbol[2:])
    except (_NotUnderstoodError, ValueError):
        pass
    return symbol
