# SPDX-License-Identifier: BSD-2-Clause
"""Tests of the failpoint language."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ConfigurationError
from harness.failpoints.grammar import PPM_ALWAYS, Action, Setting, Term, parse_setting

INT_MAX = 2**31 - 1


@st.composite
def terms(draw: st.DrawFn) -> Term:
    action = draw(st.sampled_from(Action))
    argument = None
    if action in (Action.SLEEP, Action.DELAY):
        argument = draw(st.integers(0, INT_MAX))
    elif action in (Action.RETURN, Action.PRINT):
        argument = draw(st.integers(-(2**31), INT_MAX))
    optional = st.none() | st.integers(0, INT_MAX)
    return Term(
        action,
        argument,
        ppm=draw(st.integers(1, PPM_ALWAYS) | st.just(PPM_ALWAYS)),
        count=draw(st.none() | st.integers(1, INT_MAX)),
        pid=draw(optional),
        vcpu=draw(optional),
    )


settings_of_failpoints = st.lists(terms(), min_size=1, max_size=5).map(lambda t: Setting(tuple(t)))


@given(settings_of_failpoints)
def test_text_of_a_setting_reads_back_as_the_same_setting(setting: Setting) -> None:
    assert parse_setting(str(setting)) == setting


@given(settings_of_failpoints)
def test_blanks_around_the_arrow_change_nothing(setting: Setting) -> None:
    assert parse_setting("  " + str(setting).replace("->", " -> ") + " ") == setting


@given(st.text(max_size=60) | st.text("0123456789.%*()[]->slepidvcuofrtn ", max_size=40))
def test_any_text_is_a_setting_or_a_configuration_error(text: str) -> None:
    try:
        setting = parse_setting(text)
    except ConfigurationError as error:
        assert "failpoint setting" in str(error)
    else:
        assert parse_setting(str(setting)) == setting


@pytest.mark.parametrize(
    ("text", "expected"),
    [  # the examples of fail(9), and each action
        ("2.1%return(5)", (Term(Action.RETURN, 5, ppm=21_000),)),
        (
            "2%return(5)->5%return(22)",
            (Term(Action.RETURN, 5, ppm=20_000), Term(Action.RETURN, 22, ppm=50_000)),
        ),
        (
            "5*return(5)->0.1%return(22)",
            (Term(Action.RETURN, 5, count=5), Term(Action.RETURN, 22, ppm=1_000)),
        ),
        ("0.1%5*return(5)", (Term(Action.RETURN, 5, ppm=1_000, count=5),)),
        ("1%sleep(50)", (Term(Action.SLEEP, 50, ppm=10_000),)),
        ("1*return(5)[pid 1234]", (Term(Action.RETURN, 5, count=1, pid=1234),)),
        (".5%delay(100)", (Term(Action.DELAY, 100, ppm=5_000),)),
        ("3*pause->off", (Term(Action.PAUSE, count=3), Term(Action.OFF))),
        ("panic", (Term(Action.PANIC),)),
        ("break", (Term(Action.BREAK),)),
        ("print", (Term(Action.PRINT, 0),)),
        ("print(1)->yield", (Term(Action.PRINT, 1), Term(Action.YIELD))),
        ("return(-0x10)", (Term(Action.RETURN, -16),)),
        ("sleep(5)[vcpu 1]", (Term(Action.SLEEP, 5, vcpu=1),)),
        ("sleep(5)[vcpu 1][pid 2]", (Term(Action.SLEEP, 5, pid=2, vcpu=1),)),
        ("1.2%2%4*3*off", (Term(Action.OFF, ppm=20_000, count=3),)),  # the last of each counts
        ("0.12345%off", (Term(Action.OFF, ppm=1_235),)),  # rounded at the fifth decimal
    ],
)
def test_setting_is_read(text: str, expected: tuple[Term, ...]) -> None:
    assert parse_setting(text) == Setting(expected)


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        (Term(Action.PAUSE, pid=7), "pause(0)[pid 7]"),
        (Term(Action.SLEEP, 10, ppm=5), ".0005%sleep(10)"),
        (Term(Action.SLEEP, 10, ppm=15_000, count=2), "1.5%2*sleep(10)"),
        (Term(Action.PRINT, pid=1), "print(0)[pid 1]"),
        (Term(Action.PRINT), "print"),
    ],
)
def test_canonical_text(setting: Term, text: str) -> None:
    assert str(setting) == text


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("", 0, "expected one of off, return"),
        ("slep(5)", 0, "expected one of off, return"),
        ("sleep", 5, "sleep needs a time in milliseconds"),
        ("delay", 5, "delay needs a time in microseconds"),
        ("sleep(10ms)", 8, "a whole number of milliseconds"),
        ("sleep(0.5)", 7, "delay, which takes microseconds"),
        ("sleep(-1)", 0, "cannot be negative"),
        ("return(99999999999)", 0, "must fit a C int"),
        ("return(010)", 7, "octal"),
        ("return(5", 8, "')'"),
        ("panic(3)", 6, "panic takes no argument"),
        ("5sleep(1)", 1, "'%' (a percentage) or '*' (a count)"),
        ("0*off", 0, "a count must be 1 to"),
        ("1.5*off", 0, "a count is a whole number"),
        ("0%off", 0, "at least .0001%"),
        (".00001%off", 0, "at least .0001%"),
        ("100.1%off", 0, "at most 100%"),
        ("1.%off", 2, "a digit after the decimal point"),
        ("return(5)[tid 5]", 9, "[pid N] or [vcpu N]"),
        ("return(5)[pid 5][pid 6]", 16, "there twice"),
        ("return(5)[pid]", 13, "as in [pid 1]"),
        ("return(5)[pid x]", 14, "a whole number"),
        ("return(5)[pid 5", 15, "']'"),
        ("off->", 5, "expected one of off, return"),
        ("off off", 4, "'->'"),
    ],
)
def test_mistake_is_shown_with_a_caret(text: str, column: int, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_setting(text)
    first, shown, caret = str(caught.value).split("\n")
    assert says in first
    assert shown == "  " + text
    assert caret == " " * (2 + column) + "^"


@pytest.mark.parametrize("text", ["off\noff", "9" * 5000 + "*off"])
def test_several_lines_and_endless_text_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="failpoint setting"):
        parse_setting(text)


@pytest.mark.parametrize(
    "values",
    [
        {"action": Action.SLEEP},
        {"action": Action.PANIC, "argument": 1},
        {"action": Action.OFF, "ppm": 0},
        {"action": Action.OFF, "ppm": PPM_ALWAYS + 1},
        {"action": Action.OFF, "count": 0},
        {"action": Action.OFF, "pid": -1},
        {"action": Action.OFF, "vcpu": -1},
    ],
)
def test_term_refuses_values_that_do_not_go_together(values: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        Term(**values)  # type: ignore[arg-type]


def test_units_of_holds() -> None:
    assert Term(Action.SLEEP, 10).hold_seconds == 0.010
    assert Term(Action.DELAY, 10).hold_seconds == 0.000_010
    assert Term(Action.RETURN, 10).hold_seconds is None
    assert Term(Action.PAUSE).hold_seconds is None
    assert Term(Action.OFF, ppm=5_000).probability == 0.005


@pytest.mark.parametrize(
    ("text", "reachable"),
    [
        ("off", ""),
        ("off->sleep(1)", ""),
        ("sleep(1)->off", "sleep(1)"),
        ("3*sleep(1)->off", "3*sleep(1)"),
        ("sleep(1)->return(5)", "sleep(1)"),
        ("5%sleep(1)->return(5)->panic", "5%sleep(1)->return(5)"),
        ("print(1)->return(5)", "print(1)->return(5)"),
        ("off[vcpu 1]->sleep(1)", "off[vcpu 1]->sleep(1)"),
    ],
)
def test_reachable_terms(text: str, reachable: str) -> None:
    assert "->".join(map(str, parse_setting(text).reachable_terms)) == reachable
