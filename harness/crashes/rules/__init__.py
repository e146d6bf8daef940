# SPDX-License-Identifier: BSD-2-Clause
"""The grammars, one module per system."""

from harness.crashes.rule import Grammar
from harness.crashes.rules import freebsd, gnumach, linux
from harness.errors import UsageError

GRAMMARS: dict[str, Grammar] = {
    grammar.system: grammar for grammar in (linux.GRAMMAR, freebsd.GRAMMAR, gnumach.GRAMMAR)
}


def grammar_of(system: str) -> Grammar:
    """Return the grammar of `system`; raises UsageError for a system without rules."""
    if system not in GRAMMARS:
        raise UsageError(
            f"no crash rules for system {system!r}: expected one of {', '.join(GRAMMARS)}"
        )
    return GRAMMARS[system]
