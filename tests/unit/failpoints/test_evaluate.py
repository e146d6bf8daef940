# SPDX-License-Identifier: BSD-2-Clause
"""Tests of fail(9)'s rules as the host carries them out."""

from hypothesis import given
from hypothesis import strategies as st

from harness.failpoints.evaluate import Evaluator
from harness.failpoints.grammar import Action, parse_setting


def actions(text: str, passes: int, vcpu: int = 0, seed: int = 1) -> list[list[str]]:
    evaluator = Evaluator(parse_setting(text), seed)
    return [[str(term) for term in evaluator.terms_at(vcpu)] for _ in range(passes)]


def test_a_count_ends_and_the_next_term_takes_over() -> None:
    assert actions("2*return(1)->return(2)", 3) == [
        ["2*return(1)"], ["2*return(1)"], ["return(2)"],
    ]  # fmt: skip


def test_only_a_print_with_an_argument_passes_on() -> None:
    assert actions("print(1)->return(5)", 1) == [["print(1)", "return(5)"]]
    assert actions("1*print->return(5)", 2) == [["1*print"], ["return(5)"]]


def test_another_vcpu_does_not_use_up_the_count() -> None:
    evaluator = Evaluator(parse_setting("1*return(3)[vcpu 1]"), 0)
    assert [len(evaluator.terms_at(vcpu)) for vcpu in (0, 0, 1, 1)] == [0, 0, 1, 0]
    assert (evaluator.evaluated, evaluator.fired) == (4, 1)


def test_off_executes_and_ends_the_chain() -> None:
    assert actions("1*off->return(1)", 2) == [["1*off"], ["return(1)"]]
    assert actions("off", 2) == [[], []]


@given(st.integers(0, 2**64 - 1))
def test_a_seed_decides(seed: int) -> None:
    assert actions("30%return", 50, seed=seed) == actions("30%return", 50, seed=seed)


def test_a_percentage_is_of_the_passes() -> None:
    evaluator = Evaluator(parse_setting("25%return"), 7)
    fired = sum(bool(evaluator.terms_at(0)) for _ in range(4000))
    assert 900 < fired < 1100
    assert all(term.action is Action.RETURN for term in evaluator.terms_at(0))
