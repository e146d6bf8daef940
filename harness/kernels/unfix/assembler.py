# SPDX-License-Identifier: BSD-2-Clause
"""New instructions for a function, assembled at the addresses where they shall stand."""

import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ConfigurationError, InfrastructureError
from harness.kernels.unfix.patterns import Bindings, field_named, register_name
from harness.places.structures import Field

_TOKEN = re.compile(
    r"%(?P<register>[a-z][a-z0-9_]*)|\$(?P<field>[a-z][a-z0-9_]*)(?P<mask>\.mask)?"
    r"|@(?P<place>[a-z][a-z0-9_]*)|\[<(?P<data>\w+)>\]|<(?P<code>\w+)>"
)
_NEW_LABEL = re.compile(r"(?P<label>[a-z][a-z0-9_]*):\s*(?P<rest>.*)")
_NOP = 0x90
_MODES = {"x86_64": ("--64", "elf_x86_64"), "i386": ("--32", "elf_i386")}


@dataclass(frozen=True)
class Room:
    """Where an edit goes: the bytes from `start` up to `end`, virtual addresses, and its code."""

    name: str
    start: int
    end: int
    code: str


def assemble(
    arch: str,
    function: int,
    rooms: Sequence[Room],
    bindings: Bindings,
    fields: Mapping[str, Field],
    symbols: Mapping[str, int],
) -> dict[str, bytes]:
    """The bytes of each room, filled up with no-ops; `function` is the function's first address.

    GNU as and ld do it, with all places of the function as labels, so that near jumps are short.
    Raises ConfigurationError if the code is wrong or does not fit, InfrastructureError if the
    assembler is missing.
    """
    new = {
        found["label"]
        for room in rooms
        for line in room.code.splitlines()
        if (found := _NEW_LABEL.fullmatch(line.strip()))
    }
    at: list[tuple[int, int, str]] = [
        (address, 0, f".org {address - function:#x}\nL_{name}:")
        for name, address in bindings.places.items()
        if not any(room.start < address < room.end for room in rooms)
    ]
    for room in rooms:
        lines = [f".org {room.start - function:#x}"]
        lines += [_translated(line, arch, bindings, fields, new) for line in room.code.splitlines()]
        lines.append(f".org {room.end - function:#x}, {_NOP:#x}")
        at.append((room.start, 1, "\n".join(lines)))
    text = "\n".join([".intel_syntax noprefix", ".text", *(part for _, _, part in sorted(at)), ""])
    image = _run_tools(arch, function, text, symbols, rooms)
    return {room.name: image[room.start - function : room.end - function] for room in rooms}


def symbols_used(rooms: Sequence[Room]) -> set[str]:
    """The kernel's symbols that the code of some rooms names."""
    return {
        token["data"] or token["code"]
        for room in rooms
        for token in _TOKEN.finditer(room.code)
        if token["data"] or token["code"]
    }


def _translated(
    line: str, arch: str, bindings: Bindings, fields: Mapping[str, Field], new: set[str]
) -> str:
    found = _NEW_LABEL.fullmatch(line.strip())
    label, rest = (f"L_{found['label']}: ", found["rest"]) if found else ("", line.strip())

    def value(token: re.Match[str]) -> str:
        if token["register"]:
            if token["register"] not in bindings.registers:
                raise ConfigurationError(f"the edit uses %{token['register']}, which no piece has")
            return register_name(bindings.registers[token["register"]], arch)
        if token["field"]:
            field = field_named(token["field"], fields)
            return f"{field.mask if token['mask'] else field.offset:#x}"
        if token["place"]:
            if token["place"] not in bindings.places and token["place"] not in new:
                raise ConfigurationError(f"the edit jumps to @{token['place']}, which no piece has")
            return f"L_{token['place']}"
        if token["data"]:
            return f"[rip + {token['data']}]" if arch == "x86_64" else f"[{token['data']}]"
        return str(token["code"])

    return label + _TOKEN.sub(value, rest)


def _run_tools(
    arch: str, function: int, text: str, symbols: Mapping[str, int], rooms: Sequence[Room]
) -> bytes:
    width, emulation = _MODES[arch]
    with tempfile.TemporaryDirectory(prefix="harness-assemble-") as name:
        folder = Path(name)
        (folder / "code.s").write_text(text)
        _run(["as", width, "-o", "code.o", "code.s"], folder, rooms)
        known = [f"--defsym={symbol}={address:#x}" for symbol, address in symbols.items()]
        link = ["ld", "-m", emulation, f"-Ttext={function:#x}", f"--entry={function:#x}"]
        _run([*link, "--oformat=binary", *known, "-o", "code.bin", "code.o"], folder, rooms)
        return (folder / "code.bin").read_bytes()


def _run(argv: Sequence[str], folder: Path, rooms: Sequence[Room]) -> None:
    try:
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise InfrastructureError(f"{argv[0]} is not installed: install binutils") from error
    if done.returncode != 0:
        many = ", ".join(f"{room.name} ({room.end - room.start} bytes)" for room in rooms)
        if ".org backwards" in done.stderr:
            raise ConfigurationError(f"the code of one of the edits {many} does not fit")
        raise ConfigurationError(
            f"the code of the edits {many} cannot be assembled: {done.stderr.strip()}"
        )
