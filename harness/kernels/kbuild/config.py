# SPDX-License-Identifier: BSD-2-Clause
"""Configuration fragments: read, merged, and checked against what the kernel made of them.

Format: Linux, Documentation/kbuild/kconfig.rst; a fragment is a part of a .config, as
scripts/kconfig/merge_config.sh takes it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from harness.errors import ConfigurationError

_SET = re.compile(r"CONFIG_([A-Za-z0-9_]+)=(.+)")
_UNSET = re.compile(r"# CONFIG_([A-Za-z0-9_]+) is not set")
_STANZA = re.compile(r"\s*(?:menu)?config\s+([A-Za-z0-9_]+)\s*$")
_STANZA_END = re.compile(r"(?:menu|choice|endchoice|endmenu|if|endif|source|comment)\b")
_OPERAND = re.compile(r"(!?)\s*\b(\d*[A-Z][A-Z0-9_]*)\b(?!\s*(?:!?=|[<>]))")
_COMPILER_TEST = re.compile(r"\$\((?:cc-option|success|CC)\b|\b(?:GCC|CLANG)_VERSION\b")
_VALUE = re.compile(r'y|m|n|-?[0-9]+|0[xX][0-9a-fA-F]+|"(?:[^"\\]|\\.)*"')


@dataclass(frozen=True)
class Option:
    """What is asked of one symbol (without CONFIG_); `value` is n where it is not set."""

    symbol: str
    value: str
    where: str

    @property
    def line(self) -> str:
        """The option as a line of a .config."""
        if self.value == "n":
            return f"# CONFIG_{self.symbol} is not set"
        return f"CONFIG_{self.symbol}={self.value}"


def parse_fragment(text: str, name: str) -> dict[str, Option]:
    """Options of a fragment by symbol; `name` is the file, for messages.

    Raises ConfigurationError for a line that is no option, no comment and not empty, and for a
    symbol asked to be two things.
    """
    options: dict[str, Option] = {}
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        where = f"{name}:{number}"
        if unset := _UNSET.fullmatch(line):
            option = Option(unset[1], "n", where)
        elif not line or line.startswith("#"):
            if line.startswith("# CONFIG_"):
                raise ConfigurationError(
                    f"{where}: `{line}` looks like an option but is a comment; write "
                    "`# CONFIG_X is not set` to have it off"
                )
            continue
        elif (found := _SET.fullmatch(line)) and _VALUE.fullmatch(found[2]):
            option = Option(found[1], found[2], where)
        else:
            raise ConfigurationError(
                f"{where}: expected `CONFIG_X=y`, a number or a quoted text, or "
                f"`# CONFIG_X is not set`; found `{line}`"
            )
        before = options.setdefault(option.symbol, option)
        if before.value != option.value:
            raise ConfigurationError(
                f"{where}: CONFIG_{option.symbol} is asked to be {option.value}, but "
                f"{before.where} asks for {before.value}"
            )
    return options


def merge(*fragments: Mapping[str, Option]) -> dict[str, Option]:
    """All options; a later fragment wins."""
    merged: dict[str, Option] = {}
    for fragment in fragments:
        merged |= fragment
    return merged


def config_text(options: Mapping[str, Option]) -> str:
    """The options as one fragment, for KCONFIG_ALLCONFIG."""
    return "".join(f"{option.line}\n" for option in options.values())


def check_config(
    options: Mapping[str, Option], config: str, tree: Path, arch_folder: str | None = None
) -> None:
    """Compares what was asked for with the .config that came out.

    Raises ConfigurationError naming every option that did not stick, with what was asked, what
    came out, and what the symbol depends on in the source `tree`, of whose arch/ only
    `arch_folder` counts (all without one); and for parts built as modules, which nothing would
    load.
    """
    got = _values(config)
    lost = [option for option in options.values() if got.get(option.symbol, "n") != option.value]
    if lost:
        known = _definitions(tree, arch_folder)
        complaints = [_complaint(option, got, known) for option in lost]
        raise ConfigurationError(
            "options that the kernel's configuration did not take:\n  " + "\n  ".join(complaints)
        )
    if modules := sorted(symbol for symbol, value in got.items() if value == "m"):
        raise ConfigurationError(
            "these would be built as modules, which are not part of a kernel from source; ask for "
            "=y: " + ", ".join(f"CONFIG_{symbol}" for symbol in modules)
        )


@dataclass
class _Definition:
    where: str
    depends: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    tests_compiler: bool = False


def _complaint(
    option: Option, got: Mapping[str, str], known: Mapping[str, list[_Definition]]
) -> str:
    came_out = got.get(option.symbol, "n")
    asked = f"{option.where}: CONFIG_{option.symbol}: asked for {option.value}, got {came_out}"
    definitions = known.get(option.symbol)
    if definitions is None:
        near = get_close_matches(option.symbol, known, n=3, cutoff=0.7)
        hint = f"; similar: {', '.join(near)}" if near else ""
        return f"{asked}; this kernel has no such option{hint}"
    if option.value == "m":
        return f"{asked}; nothing would load a module: ask for =y"
    ranges = [f"{d.where}: {' or '.join(d.ranges)}" for d in definitions if d.ranges]
    if ranges and came_out not in ("y", "n"):
        return f"{asked} ({'; '.join(ranges)})"
    reasons = [
        f"{definition.where}: depends on {' and on '.join(definition.depends)}"
        for definition in definitions
        if definition.depends
    ]
    if reasons:
        return f"{asked} ({'; '.join([*reasons, *_unmet(definitions, got, known)])})"
    places = ", ".join(definition.where for definition in definitions)
    return f"{asked} (see {places}: it may lie in a menu that is off, or another option selects it)"


def _unmet(
    definitions: Sequence[_Definition],
    got: Mapping[str, str],
    known: Mapping[str, list[_Definition]],
) -> list[str]:
    """What is not as the conditions want it, each name once.

    Of alternatives (A || B) all are named: which of them was meant, nobody can know.
    """
    wrong = []
    for expression in (text for definition in definitions for text in definition.depends):
        for negated, symbol in _OPERAND.findall(expression):
            is_on = got.get(symbol, "n") != "n"
            if is_on == bool(negated):
                test = next((d.where for d in known.get(symbol, []) if d.tests_compiler), None)
                compiler = got.get("CC_VERSION_TEXT", "the compiler").strip('"')
                why = (
                    f" ({compiler} fails the test at {test}: name another)"
                    if test and not is_on
                    else ""
                )
                wrong.append(f"{symbol} is {'on' if is_on else 'off'}{why}")
    return list(dict.fromkeys(wrong))


def _values(config: str) -> dict[str, str]:
    found = (_SET.fullmatch(line.strip()) for line in config.splitlines())
    return {match[1]: match[2] for match in found if match}


def _definitions(tree: Path, arch_folder: str | None) -> dict[str, list[_Definition]]:
    known: dict[str, list[_Definition]] = {}
    for path in sorted(tree.rglob("Kconfig*")):
        below = path.relative_to(tree).parts
        foreign = below[0] == "arch" and len(below) > 2 and arch_folder not in (None, below[1])
        if path.is_file() and not foreign:
            text = path.read_text(encoding="utf-8", errors="replace")
            for symbol, definition in _stanzas(text, str(path.relative_to(tree))):
                known.setdefault(symbol, []).append(definition)
    return known


def _stanzas(text: str, name: str) -> list[tuple[str, _Definition]]:
    found: list[tuple[str, _Definition]] = []
    open_stanza = False
    for number, line in enumerate(text.splitlines(), start=1):
        if stanza := _STANZA.match(line):
            found.append((stanza[1], _Definition(f"{name}:{number}")))
            open_stanza = True
        elif _STANZA_END.match(line):
            open_stanza = False
        elif open_stanza:
            definition = found[-1][1]
            definition.tests_compiler |= _COMPILER_TEST.search(line) is not None
            if line.strip().startswith("depends on "):
                definition.depends.append(" ".join(line.split()[2:]).removesuffix("\\").strip())
            elif line.strip().startswith("range "):
                definition.ranges.append(" ".join(line.split()))
    return found
