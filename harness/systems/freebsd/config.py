# SPDX-License-Identifier: BSD-2-Clause
"""FreeBSD kernel configurations (config(5)): the harness's base and a target's fragment as one."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ConfigurationError
from harness.progress import Say

_OWN = {
    "cpu": "the base says it",
    "ident": "it names the build's folder",
    "include": "a fragment is one file",
    "machine": "the guest says it",
}
_KNOWN = (
    "device", "nodevice", "nodevices", "option", "options", "nooption", "nooptions",
    "makeoption", "makeoptions", "nomakeoption", "nomakeoptions", "envvar", "hints", "env",
    "profile", "maxusers",
)  # fmt: skip
_WITHOUT_A_SYMPTOM = ("INVARIANTS", "INVARIANT_SUPPORT")
UNTIL_12 = Path(__file__).parent / "kernel/until-12.conf"
"""Devices that trees from before 13 need beside the base's."""
IDENT = "HARNESS"
"""The configuration's name, and that of the folder its kernel is built in."""


@dataclass(frozen=True)
class Directive:
    """One line of a configuration: `device`, `options` …, and what follows it."""

    verb: str
    argument: str
    where: str

    @property
    def name(self) -> str:
        """The option's or device's name, without its value."""
        return self.argument.partition("=")[0].strip()


def parse_config(text: str, file: str) -> list[Directive]:
    """The lines that say something; `file` is for messages. Raises ConfigurationError."""
    directives = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = _without_comment(line).split(None, 1)
        if not words:
            continue
        where = f"{file}:{number}"
        if len(words) != 2 or words[0] not in (*_KNOWN, *_OWN):
            raise ConfigurationError(
                f"{where}: expected `options NAME`, `device NAME`, `makeoptions NAME=VALUE` or one "
                f"of them with `no` before it (config(5)); found {line.strip()!r}"
            )
        argument = re.sub(r"\s*=\s*", "=", words[1].strip(), count=1)
        directives.append(Directive(words[0], argument, where))
    return directives


def read_config(base: Path, fragments: Sequence[Path]) -> list[Directive]:
    """The base's directives and the fragments' behind them.

    Raises ConfigurationError for a fragment with what is not its business, and for one that takes
    INVARIANTS away: without its checks the symptoms of FreeBSD's targets cannot show.
    """
    added = [
        directive
        for file in fragments
        for directive in parse_config(file.read_text(encoding="utf-8"), str(file))
    ]
    for directive in added:
        if directive.verb in _OWN:
            raise ConfigurationError(
                f"{directive.where}: a target's configuration has no `{directive.verb}`: "
                f"{_OWN[directive.verb]}"
            )
    directives = [*parse_config(base.read_text(encoding="utf-8"), str(base)), *added]
    options = option_names(directives)
    for name in _WITHOUT_A_SYMPTOM:
        if name not in options:
            where = next(d.where for d in reversed(directives) if d.name == name)
            raise ConfigurationError(
                f"{where}: this kernel would be without {name}: what a race breaks would not be "
                "seen, since it is INVARIANTS' assertions that panic"
            )
    return directives


def option_names(directives: Iterable[Directive]) -> set[str]:
    """The options that are on in the end."""
    names: set[str] = set()
    for directive in directives:
        if directive.verb in ("options", "option"):
            names.add(directive.name)
        elif directive.verb in ("nooptions", "nooption"):
            names.discard(directive.name)
    return names


def require_known_options(directives: Iterable[Directive], tree: Path, target: str) -> None:
    """Raises ConfigurationError for an option that the tree has not (sys/conf/options*).

    config(8) would say so, too, but not where it was asked for.
    """
    known = _options_of(tree, target)
    unknown = [
        f"  {directive.where}: options {directive.name}"
        for directive in directives
        if directive.verb in ("options", "option") and directive.name not in known
    ]
    if unknown:
        raise ConfigurationError(
            "options that this tree's kernel does not have (sys/conf/options, "
            f"sys/conf/options.{target}):\n" + "\n".join(unknown)
        )


def known_directives(
    directives: Sequence[Directive], tree: Path, target: str, own: Collection[str], say: Say
) -> list[Directive]:
    """Without the options of the harness's `own` files that an older tree has not, which is said.

    Raises ConfigurationError for a target's option that the tree has not.
    """
    known = _options_of(tree, target)
    kept: list[Directive] = []
    dropped: list[Directive] = []
    for directive in directives:
        base = directive.where.rpartition(":")[0] in own
        old = base and directive.verb == "options" and directive.name not in known
        (dropped if old else kept).append(directive)
    if dropped:
        say("options that this tree has not are left out: " + ", ".join(d.name for d in dropped))
    require_known_options(kept, tree, target)
    return kept


def known_devices(file: Path, tree: Path, target: str) -> list[Directive]:
    """The devices of a configuration file that the tree has something for (sys/conf/files)."""
    conditions = {
        word.lstrip("!")
        for name in ("files", f"files.{target}")
        if (listed := tree / "sys/conf" / name).is_file()
        for line in _joined(listed.read_text(encoding="utf-8", errors="replace"))
        for word in _without_comment(line).partition("optional")[2].split()
    }
    directives = parse_config(file.read_text(encoding="utf-8"), str(file))
    return [d for d in directives if d.verb == "device" and d.name in conditions]


def _joined(text: str) -> list[str]:
    return text.replace("\\\n", " ").splitlines()


def _options_of(tree: Path, target: str) -> set[str]:
    files = [tree / "sys/conf/options", tree / f"sys/conf/options.{target}"]
    return {
        words[0]
        for file in files
        if file.is_file()
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines()
        if (words := _without_comment(line).split())
    }


def config_text(directives: Iterable[Directive], source: Path | None) -> str:
    """The file that config(8) reads.

    Files of the tree `source` are named from its top, wherever it was built: `sys/vm/vm_page.c`;
    without, the compiler may be too old for that.
    """
    lines = [f"{directive.verb}\t{directive.argument}" for directive in directives]
    if source is not None:
        lines.append(f'makeoptions\tCONF_CFLAGS="-ffile-prefix-map={source}/="')
    return "\n".join([f"ident\t{IDENT}", *lines, ""])


def _without_comment(line: str) -> str:
    return line.partition("#")[0].strip()
