# SPDX-License-Identifier: BSD-2-Clause
"""Patterns of instructions, found where they stand in a function.

One instruction a line, as `listing` writes them, with

- `%name` for a register: the same one, whatever part of it, wherever the name stands;
- `$name` for a field's offset in its structure, `$name.mask` for a bit-field's mask there;
- `@name` for a place in the function, and `name:` before the instruction that is there;
- `<name>` for a symbol of the kernel, `*` for any operand or part of one;
- `this | that` for either of two forms, `...` for any instruction.

Padding between instructions is passed over.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.errors import ConfigurationError
from harness.kernels.unfix.description import Piece
from harness.kernels.unfix.listing import Line
from harness.places.structures import Field

_LABEL = re.compile(r"(?P<label>[a-z][a-z0-9_]*):\s+(?P<rest>.*)")
_TOKEN = re.compile(
    r"%(?P<register>[a-z][a-z0-9_]*)|\$(?P<field>[a-z][a-z0-9_]*)(?P<mask>\.mask)?"
    r"|@(?P<place>[a-z][a-z0-9_]*)|(?P<any>\*)|(?P<number>(?<![\w@])(?:0x[0-9a-f]+|\d+)(?!\w))"
)
_REGISTER = r"(?:r\d+[dwb]?|[re]?[abcd]x|[abcd][lh]|[re]?(?:si|di|bp|sp)|(?:si|di|bp|sp)l)"
_PART = re.compile(
    r"r(?P<number>\d+)[dwb]?|[re]?(?P<legacy>[abcd])[xlh]|[re]?(?P<index>[sdb][ip])l?"
)


@dataclass(frozen=True)
class Bindings:
    """What the names of a description stand for in one kernel.

    Registers by the part-less name (`ax`, `si`, `8`), places by virtual address.
    """

    registers: Mapping[str, str]
    places: Mapping[str, int]


EMPTY = Bindings({}, {})


@dataclass(frozen=True)
class _PatternLine:
    label: str | None
    forms: tuple[tuple[re.Pattern[str], Mapping[str, str], Mapping[str, str]], ...]
    """For each form: the expression, and its groups' registers and places."""
    text: str


def register_family(name: str) -> str:
    """A register without its width: `ax` of rax, eax, ax, al and ah; `8` of r8 and r8d."""
    found = _PART.fullmatch(name)
    if found is None:
        raise ConfigurationError(f"{name!r} is no general register")
    return found["number"] or (f"{found['legacy']}x" if found["legacy"] else str(found["index"]))


def registers_of(text: str) -> set[str]:
    """The families of all registers that an instruction's text names."""
    return {register_family(word) for word in re.findall(rf"\b{_REGISTER}\b", text)}


def register_name(family: str, arch: str) -> str:
    """The full-width register of a family on an architecture."""
    if family.isdigit():
        return f"r{family}"
    return ("r" if arch == "x86_64" else "e") + family


def compile_line(text: str, fields: Mapping[str, Field]) -> _PatternLine:
    """A pattern's line. Raises ConfigurationError for a field that is not defined."""
    found = _LABEL.fullmatch(text.strip())
    label, rest = (found["label"], found["rest"]) if found else (None, text.strip())
    forms = tuple(_compile_form(form.strip(), fields) for form in rest.split(" | "))
    return _PatternLine(label, forms, text.strip())


def _compile_form(
    text: str, fields: Mapping[str, Field]
) -> tuple[re.Pattern[str], Mapping[str, str], Mapping[str, str]]:
    registers: dict[str, str] = {}
    places: dict[str, str] = {}
    if text == "...":
        return re.compile(".*"), registers, places
    pieces, at = [], 0
    for number, token in enumerate(_TOKEN.finditer(text)):
        pieces.append(re.escape(text[at : token.start()]))
        at = token.end()
        group = f"g{number}"
        if token["register"]:
            registers[group] = token["register"]
            pieces.append(f"(?P<{group}>{_REGISTER})")
        elif token["place"]:
            places[group] = token["place"]
            pieces.append(f"@(?P<{group}>0x[0-9a-f]+)")
        elif token["field"]:
            field = field_named(token["field"], fields)
            value = field.mask if token["mask"] else field.offset
            pieces.append(f"{value:#x}")
        elif token["number"]:
            pieces.append(f"{int(token['number'], 0):#x}")
        else:
            pieces.append("[^,]*")
    pieces.append(re.escape(text[at:]))
    expression = "".join(pieces).replace(r"\ \+\ 0x0\]", r"\]")
    return re.compile(expression), registers, places


def field_named(name: str, fields: Mapping[str, Field]) -> Field:
    """A field of the description. Raises ConfigurationError if it is not defined."""
    if name not in fields:
        raise ConfigurationError(
            f"the binary patch uses ${name}, and its [fields] has only: {', '.join(fields)}"
        )
    return fields[name]


def match_line(line: _PatternLine, found: Line, known: Bindings) -> Bindings | None:
    """The bindings with what an instruction adds to them; None if it does not match."""
    places = dict(known.places)
    if line.label and places.setdefault(line.label, found.insn.address) != found.insn.address:
        return None
    for expression, register_groups, place_groups in line.forms:
        match = expression.fullmatch(found.text)
        if match is None:
            continue
        registers, there = dict(known.registers), dict(places)
        if all(
            registers.setdefault(name, register_family(match[group]))
            == register_family(match[group])
            for group, name in register_groups.items()
        ) and all(
            there.setdefault(name, int(match[group], 16)) == int(match[group], 16)
            for group, name in place_groups.items()
        ):
            return Bindings(registers, there)
    return None


@dataclass(frozen=True)
class _Compiled:
    name: str
    alternatives: tuple[tuple[_PatternLine, ...], ...]


def find_pieces(
    pieces: Sequence[Piece], lines: Sequence[Line], fields: Mapping[str, Field], function: str
) -> Bindings:
    """What the names stand for where all pieces are found, each at a place, in exactly one way.

    Raises ConfigurationError that says which piece is not there and what was found instead, or
    that there are several ways.
    """
    code = [line for line in lines if not line.is_padding]
    compiled = [
        _Compiled(
            piece.name,
            tuple(
                tuple(compile_line(text, fields) for text in form.splitlines() if text.strip())
                for form in piece.texts
            ),
        )
        for piece in pieces
    ]
    solutions = list(_solutions(compiled, code, EMPTY))
    unique = {_key(solution): solution for solution in solutions}
    if len(unique) == 1:
        return next(iter(unique.values()))
    if unique:
        raise ConfigurationError(
            f"{function}: the binary patch fits in {len(unique)} ways, expected one: its pieces "
            "must say more"
        )
    raise ConfigurationError(f"{function}: {_why_not(compiled, code)}")


def _key(solution: Bindings) -> tuple[object, ...]:
    return (
        tuple(sorted(solution.registers.items())),
        tuple(sorted(solution.places.items())),
    )


def _solutions(
    pieces: Sequence[_Compiled], code: Sequence[Line], known: Bindings
) -> Iterator[Bindings]:
    if not pieces:
        yield known
        return
    for bindings in _places_of(pieces[0], code, known):
        yield from _solutions(pieces[1:], code, bindings)


def _places_of(piece: _Compiled, code: Sequence[Line], known: Bindings) -> Iterator[Bindings]:
    for pattern in piece.alternatives:
        for start in range(len(code) - len(pattern) + 1):
            bindings, matched = _match_at(pattern, code, start, known)
            if matched == len(pattern):
                yield bindings


def _match_at(
    pattern: Sequence[_PatternLine], code: Sequence[Line], start: int, known: Bindings
) -> tuple[Bindings, int]:
    bindings = known
    for number, line in enumerate(pattern):
        if start + number >= len(code):
            return bindings, number
        found = match_line(line, code[start + number], bindings)
        if found is None:
            return bindings, number
        bindings = found
    return bindings, len(pattern)


def _why_not(pieces: Sequence[_Compiled], code: Sequence[Line]) -> str:
    """In words: the first piece that does not fit what the ones before it left open."""
    known = [EMPTY]
    for piece in pieces:
        fits = [found for before in known for found in _places_of(piece, code, before)]
        if fits:
            known = fits
            continue
        best = max(
            (
                (_match_at(pattern, code, start, before)[1], pattern, start)
                for before in known
                for pattern in piece.alternatives
                for start in range(len(code))
            ),
            key=lambda candidate: candidate[0],
        )
        matched, pattern, start = best
        found = code[start + matched] if start + matched < len(code) else None
        where = f"{found.insn.address:#x} has `{found.text}`" if found else "the function ends"
        return (
            f"the code is not as the binary patch expects it: of the piece {piece.name!r} "
            f"{matched} of {len(pattern)} instructions are there; expected "
            f"`{pattern[matched].text}`, and {where}. "
            "This build differs: adapt the description, or build the kernel from source"
        )
    return "the pieces fit one by one, but not together"
