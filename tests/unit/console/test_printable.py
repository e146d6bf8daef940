# SPDX-License-Identifier: BSD-2-Clause
"""What a guest prints never commands the user's terminal."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.console.text import last_lines, printable, printable_text

NASTY = [
    b"\x1b]0;owned\x07title",
    b"\x1b[2J\x1b[H cleared",
    b"\x1b[?1049h other screen",
    b"\x1bP+q544e\x1b\\ DCS",
    b"\x9b2J C1",
    b"\xc2\x9b2J C1 as UTF-8",
    b"\x1b[31\x1b[31m torn",
    b"back\b\b\bspace",
    b"carriage\rreturn",
    b"\xff\xfe\x80 invalid",
    b"\x0e shift out",
    b"\x05 enquiry",
]


def harmless(text: str) -> bool:
    return all(c in "\n\t" or unicodedata.category(c) != "Cc" for c in text)


@pytest.mark.parametrize("data", NASTY)
def test_escape_sequences_and_control_characters_go(data: bytes) -> None:
    assert harmless(printable(data))


@given(st.binary() | st.lists(st.sampled_from(NASTY)).map(b"".join))
def test_no_bytes_at_all_get_through_as_controls(data: bytes) -> None:
    assert harmless(printable(data))
    assert harmless(last_lines(data))


@given(st.text())
def test_text_that_came_out_of_json_neither(text: str) -> None:
    assert harmless(printable_text(text))


def test_what_is_fit_to_print_stays() -> None:
    assert printable("Grüße\tan alle\r\nzweite Zeile\n".encode()) == (
        "Grüße\tan alle\nzweite Zeile\n"
    )
    assert printable(b"\x1b[1;31mred\x1b[0m") == "red"


def test_the_last_lines_are_few_short_and_indented() -> None:
    console = b"".join(b"line %d\n" % n for n in range(100)) + b"x" * 5000 + b"\n\n"
    lines = last_lines(console, 3).splitlines()
    assert lines[:2] == ["    line 98", "    line 99"]
    assert lines[2] == "    " + "x" * 200
