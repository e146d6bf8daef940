# SPDX-License-Identifier: BSD-2-Clause
"""Configuration fragments: read, merged, and checked against what the kernel made of them.

Format: Linux, Documentation/kbuild/kconfig.rst; a fragment is a part of a .config, as
scripts/kconfig/merge_config.sh takes it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from harness.errors import ConfigurationError

_SET = re.compile(r"CONFIG_([A-Za-z0-9_]+)=(.+)")
_UNSET = re.compile(r"# CONFIG_([A-Za-z0-9_]+) is not set")
_STANZA = re.compile(r"\s*(?:menu)?config\s+([A-Za-z0-9_]+)\s*$")
_STANZA_END = re.compile(r"(?:menu|choice|endchoice|endmenu|if|endif|source|comment)\b")
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


def check_config(options: Mapping[str, Option], config: str, tree: Path) -> None:
    """Compares what was asked for with the .config that came out.

    Raises ConfigurationError naming every option that did not stick, with what was asked, what
    came out, and what the symbol depends on in the source `tree`; and for parts built as modules,
    which nothing would load.
    """
    got = _values(config)
    lost = [option for option in options.values() if got.get(option.symbol, "n") != option.value]
    if lost:
        known = _definitions(tree)
        complaints = [_complaint(option, got.get(option.symbol, "n"), known) for option in lost]
        raise ConfigurationError(
            "options that the kernel's configuration did not take:\n  " + "\n  ".join(complaints)
        )
    if modules := sorted(symbol for symbol, value in got.items() if value == "m"):
        raise ConfigurationError(
            "these would be built as modules, which are not part of a kernel from source; ask for "
            "=y: " + ", ".join(f"CONFIG_{symbol}" for symbol in modules)
        )


@dataclass(frozen=True)
class _Definition:
    where: str
    depends: tuple[str, ...]


def _complaint(option: Option, got: str, known: Mapping[str, list[_Definition]]) -> str:
    asked = f"{option.where}: CONFIG_{option.symbol}: asked for {option.value}, got {got}"
    definitions = known.get(option.symbol)
    if definitions is None:
        near = get_close_matches(option.symbol, known, n=3, cutoff=0.7)
        hint = f"; similar: {', '.join(near)}" if near else ""
        return f"{asked}; this kernel has no such option{hint}"
    reasons = [
        f"{definition.where}: depends on {' and on '.join(definition.depends)}"
        for definition in definitions
        if definition.depends
    ]
    if reasons:
        return f"{asked} ({'; '.join(reasons)})"
    places = ", ".join(definition.where for definition in definitions)
    return f"{asked} (see {places}: it may lie in a menu that is off, or another option selects it)"


def _values(config: str) -> dict[str, str]:
    found = (_SET.fullmatch(line.strip()) for line in config.splitlines())
    return {match[1]: match[2] for match in found if match}


def _definitions(tree: Path) -> dict[str, list[_Definition]]:
    known: dict[str, list[_Definition]] = {}
    for path in sorted(tree.rglob("Kconfig*")):
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            for symbol, line, depends in _stanzas(text):
                where = f"{path.relative_to(tree)}:{line}"
                known.setdefault(symbol, []).append(_Definition(where, tuple(depends)))
    return known


def _stanzas(text: str) -> list[tuple[str, int, list[str]]]:
    found: list[tuple[str, int, list[str]]] = []
    open_stanza = False
    for number, line in enumerate(text.splitlines(), start=1):
        if stanza := _STANZA.match(line):
            found.append((stanza[1], number, []))
            open_stanza = True
        elif _STANZA_END.match(line):
            open_stanza = False
        elif open_stanza and line.strip().startswith("depends on "):
            found[-1][2].append(" ".join(line.split()[2:]).removesuffix("\\").strip())
    return found
