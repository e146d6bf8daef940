# SPDX-License-Identifier: BSD-2-Clause
"""Signatures: what they match, and the reasons that they give."""

import pytest

from harness.crashes import ConsoleSignature, parse_console
from harness.errors import ConfigurationError

from .consoles import oops, stamped

CONSOLE = stamped(
    oops("kernel BUG at include/linux/mm.h:546!", "invalid opcode: 0000 [#1] SMP",
         at="put_and_wait_on_page_locked",
         trace=("__migration_entry_wait", "do_swap_page", "handle_mm_fault"))
)  # fmt: skip
REPORT = parse_console(CONSOLE, "linux")[0]


@pytest.mark.parametrize(
    "signature",
    [
        ConsoleSignature(kind="bug"),
        ConsoleSignature(title=r"^kernel BUG in put_and_wait"),
        ConsoleSignature(frames=("do_swap_page", "__migration_entry_wait.isra.0")),
        ConsoleSignature(function="put_and_wait_on_page_locked"),
        ConsoleSignature("bug", "BUG", ("do_swap_page",), "put_and_wait_on_page_locked"),
    ],
)
def test_match(signature: ConsoleSignature) -> None:
    result = signature.match(REPORT)
    assert result.matched, result.why


@pytest.mark.parametrize(
    ("signature", "why"),
    [
        (ConsoleSignature(kind="kasan"), "kind is bug, not kasan"),
        (ConsoleSignature(title="^KASAN"), "does not match '^KASAN'"),
        (ConsoleSignature(frames=("do_swap_page", "toy_walk")), "the stack lacks toy_walk (it is"),
        (ConsoleSignature(function="toy_walk"), "not toy_walk"),
    ],
)
def test_mismatch_says_why(signature: ConsoleSignature, why: str) -> None:
    result = signature.match(REPORT)
    assert not result.matched
    assert why in result.why


def test_reason_names_every_demand_that_is_met() -> None:
    result = ConsoleSignature("bug", "^kernel BUG", ("do_swap_page",)).match(REPORT)
    assert result.why == (
        "kind is bug; title 'kernel BUG in put_and_wait_on_page_locked' matches '^kernel BUG'; "
        "the stack has do_swap_page"
    )


def test_reason_mentions_a_corrupted_report() -> None:
    cut = CONSOLE[: CONSOLE.index(b"Call Trace")]
    report = parse_console(cut, "linux")[0]
    result = ConsoleSignature(frames=("do_swap_page",)).match(report)
    assert "the report is corrupted: the stack is missing" in result.why


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "cosmic-ray"}, "unknown kind of crash 'cosmic-ray': expected one of panic, bug"),
        ({"title": "("}, "is no regular expression"),
        ({}, "would match every crash"),
    ],
)
def test_bad_signature_is_a_configuration_error(fields: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ConsoleSignature(**fields)  # type: ignore[arg-type]
