# SPDX-License-Identifier: BSD-2-Clause
"""The stop rule: its level is computed exactly, by walking `decide` over every campaign."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.stats.comparison import chance_of_silence
from harness.stats.sequential import (
    ArmCounts,
    Block,
    Claim,
    Decision,
    StopRule,
    alpha_spent,
    blocks_of,
    decide,
    plan,
)

REPRODUCED = ArmCounts(reproduced=1)
CRASHED = ArmCounts(crashed=1)
HUNG = ArmCounts(hung=1)
SURVIVED = ArmCounts(survived=1)
SEPARATED = Block(REPRODUCED, SURVIVED)
QUIET = Block(SURVIVED, SURVIVED)

outcome = st.sampled_from([REPRODUCED, CRASHED, HUNG, SURVIVED])
block = st.builds(Block, outcome, st.sampled_from([SURVIVED] * 12 + [REPRODUCED, CRASHED, HUNG]))


@cache
def decided(rule: StopRule, trials: int, events: int) -> Decision:
    """The decision after `trials` blocks with a clean fixed arm: only the counts matter."""
    return decide(rule, [SEPARATED] * events + [QUIET] * (trials - events))


def ends(rule: StopRule, buggy: float, fixed: float) -> tuple[dict[Claim, float], float]:
    """Probability of each end, and mean trials, by following `decide` down every path."""
    running = {0: 1.0}  # buggy events -> probability of being here with a clean fixed arm
    end = dict.fromkeys(Claim, 0.0)
    mean = 0.0
    failed = 0.0  # exactly N trials: the claim has failed, the campaign runs on
    for trials in range(1, rule.budget + 1):
        alive = sum(running.values())
        mean += alive + failed
        if rule.every_trial:
            failed += alive * fixed
        else:
            end[Claim.FAILS] += alive * fixed
        after: dict[int, float] = {}
        for events, weight in running.items():
            for more, chance in ((1, buggy), (0, 1 - buggy)):
                now = decided(rule, trials, events + more)
                here = weight * chance * (1 - fixed)
                if now.stop:
                    end[now.claim] += here
                else:
                    assert now.claim is Claim.INCONCLUSIVE
                    after[events + more] = after.get(events + more, 0.0) + here
        running = after
    assert not running, "the rule must stop within its budget"
    end[Claim.FAILS] += failed
    return end, mean


RATES = [0.0, 0.001, 0.01, 0.03, 0.06, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97, 1.0]
RULES = [
    StopRule(budget=20),
    StopRule(budget=150),
    StopRule(budget=20, minimum_trials=12),
    StopRule(confidence=0.99, budget=80),
    StopRule(confidence=0.5, budget=60),
    StopRule(budget=3, every_trial=True),
    StopRule(budget=30, every_trial=True),
    StopRule(confidence=0.8, budget=25, every_trial=True),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_equal_kernels_are_rarely_told_apart(rule: StopRule) -> None:
    for rate in RATES:
        end, _ = ends(rule, rate, rate)
        assert end[Claim.HOLDS] <= rule.error + 1e-12
        assert end[Claim.HOLDS] <= alpha_spent(rule, rule.budget) + 1e-9


@pytest.mark.parametrize("rule", RULES[:2], ids=str)
def test_a_fixed_kernel_that_is_worse_is_rarer_still(rule: StopRule) -> None:
    for rate in RATES[1:-1]:
        same, _ = ends(rule, rate, rate)
        worse, _ = ends(rule, rate, (1 + rate) / 2)
        assert worse[Claim.HOLDS] <= same[Claim.HOLDS]


@pytest.mark.parametrize(
    ("first", "last"), [(0.08, 0.08), (0.6, 0.02)], ids=["steady", "a machine that slows down"]
)
def test_simulated_campaigns_of_equal_kernels(first: float, last: float) -> None:
    rule = StopRule(budget=40)
    random = np.random.default_rng(17)
    rates = np.linspace(first, last, rule.budget)[:, None]
    said = 0
    campaigns = 1500
    for _ in range(campaigns):
        blocks: list[Block] = []
        for buggy, fixed in random.random((rule.budget, 2)) < rates:
            blocks.append(
                Block(REPRODUCED if buggy else SURVIVED, REPRODUCED if fixed else SURVIVED)
            )
            now = decide(rule, blocks)
            if now.stop:
                break
        assert now.stop
        said += now.claim is Claim.HOLDS
    assert said / campaigns <= rule.error


@pytest.mark.parametrize(
    ("confidence", "trials"), [(0.5, 1), (0.9, 4), (0.95, 5), (0.96875, 5), (0.99, 7), (0.999, 10)]
)
def test_perfect_separation_stops_early(confidence: float, trials: int) -> None:
    rule = StopRule(confidence=confidence, budget=50)
    answers = [decide(rule, [SEPARATED] * n) for n in range(trials + 1)]
    assert [answer.stop for answer in answers] == [False] * trials + [True]
    last = answers[-1]
    assert last.claim is Claim.HOLDS
    assert last.p_value == 0.5**trials
    assert last.confidence == 1 - 0.5**trials >= confidence
    assert (last.trials, last.events) == (trials, trials)


def test_minimum_trials_are_run_first() -> None:
    rule = StopRule(budget=20, minimum_trials=8)
    assert not decide(rule, [SEPARATED] * 7).stop
    assert "minimum of 8" in decide(rule, [SEPARATED] * 7).reason
    assert decide(rule, [SEPARATED] * 8).claim is Claim.HOLDS


@pytest.mark.parametrize(
    ("bad", "word"), [(REPRODUCED, "reproduced"), (CRASHED, "crashed"), (HUNG, "hung")]
)
def test_a_fixed_arm_that_is_not_clean_fails_the_claim(bad: ArmCounts, word: str) -> None:
    answer = decide(StopRule(), [SEPARATED] * 4 + [Block(REPRODUCED, bad)])
    assert (answer.claim, answer.stop, answer.confidence) == (Claim.FAILS, True, 0.0)
    assert f"{word} 1 time in 5 trials" in answer.reason


def test_a_failure_counts_wherever_it_is() -> None:
    # A trial still under way when the claim held, and one in a block that is not complete.
    late = [SEPARATED] * 6 + [Block(SURVIVED, CRASHED)]
    assert decide(StopRule(), late).claim is Claim.FAILS
    assert decide(StopRule(), [Block(ArmCounts(), CRASHED)]).claim is Claim.FAILS


def test_crashes_of_the_buggy_arm_are_no_reproductions() -> None:
    answer = decide(StopRule(budget=8), [Block(CRASHED, SURVIVED)] * 3 + [Block(HUNG, SURVIVED)])
    assert (answer.claim, answer.stop, answer.events) == (Claim.INCONCLUSIVE, True, 0)
    assert (answer.p_value, answer.confidence) == (1.0, 0.0)
    assert "never reproduced in 4 trials (3 crashed and 1 hung otherwise)" in answer.reason


def test_evidence_comes_from_complete_blocks_in_order() -> None:
    half = Block(REPRODUCED, ArmCounts())
    answer = decide(StopRule(), [SEPARATED] * 4 + [half] + [SEPARATED] * 3)
    assert (answer.stop, answer.trials, answer.events) == (False, 4, 4)
    assert decide(StopRule(), [SEPARATED] * 8).stop


def test_stops_when_the_budget_cannot_bring_enough() -> None:
    rule = StopRule(budget=20)
    assert not decide(rule, [QUIET] * 15).stop
    answer = decide(rule, [QUIET] * 16)
    assert (answer.claim, answer.stop, answer.confidence) == (Claim.INCONCLUSIVE, True, 0.0)
    assert "never reproduced in 16 trials" in answer.reason
    answer = decide(rule, [SEPARATED] * 4 + [QUIET] * 16)
    assert (answer.claim, answer.stop, answer.confidence) == (Claim.INCONCLUSIVE, True, 0.9375)
    assert "reproduced in 4 of 20 trials" in answer.reason


def test_confidence_never_reaches_one() -> None:
    answer = decide(StopRule(budget=500, minimum_trials=400), [SEPARATED] * 400)
    assert answer.claim is Claim.HOLDS
    assert 0.999999 < answer.confidence < 1


@settings(max_examples=60, deadline=None)
@given(st.lists(block, max_size=20))
def test_a_claim_that_held_holds_until_the_fixed_arm_fails(blocks: list[Block]) -> None:
    rule = StopRule(budget=20)
    answers = [decide(rule, blocks[:n]) for n in range(len(blocks) + 1)]
    for earlier, later in pairwise(answers):
        assert later.alpha_spent >= earlier.alpha_spent
        if earlier.stop:
            assert later.stop
            assert later.claim in (earlier.claim, Claim.FAILS)
    for answer, count in zip(answers, range(len(blocks) + 1), strict=True):
        clean = all(one.fixed == SURVIVED for one in blocks[:count])
        assert (answer.claim is Claim.FAILS) == (not clean)
        assert answer.confidence == 1 - answer.p_value
        assert 0 <= answer.confidence < 1


def test_exactly_n_trials_look_once_at_their_end() -> None:
    rule = StopRule(budget=6, every_trial=True)
    for n in range(6):
        answer = decide(rule, [SEPARATED] * n)
        assert (answer.claim, answer.stop, answer.p_value) == (Claim.INCONCLUSIVE, False, 1.0)
    answer = decide(rule, [SEPARATED] * 4 + [QUIET] * 2)
    assert (answer.claim, answer.stop) == (Claim.HOLDS, True)
    assert answer.p_value == chance_of_silence(4, 6, 0, 6)
    assert decide(rule, [SEPARATED] * 9).trials == 6


def test_exactly_n_trials_run_even_after_a_failure() -> None:
    rule = StopRule(budget=3, every_trial=True)
    answers = [decide(rule, [Block(REPRODUCED, CRASHED)] * n) for n in (1, 2, 3)]
    assert [answer.stop for answer in answers] == [False, False, True]
    assert {answer.claim for answer in answers} == {Claim.FAILS}


def test_too_few_fixed_trials_are_inconclusive_not_refused() -> None:
    answer = decide(StopRule(budget=1, every_trial=True), [SEPARATED])
    assert (answer.claim, answer.stop) == (Claim.INCONCLUSIVE, True)
    assert answer.confidence == pytest.approx(0.75)
    assert "may be chance" in answer.reason


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize(("buggy", "fixed"), [(0.95, 0.0), (0.3, 0.0), (0.1, 0.05), (0.0, 0.0)])
def test_the_plan_is_what_the_rule_does(rule: StopRule, buggy: float, fixed: float) -> None:
    end, mean = ends(rule, buggy, fixed)
    found = plan(rule, buggy, fixed)
    assert found.holds == pytest.approx(end[Claim.HOLDS], abs=1e-9)
    assert found.fails == pytest.approx(end[Claim.FAILS], abs=1e-9)
    assert found.inconclusive == pytest.approx(end[Claim.INCONCLUSIVE], abs=1e-9)
    assert found.expected_trials == pytest.approx(mean, rel=1e-9)


def test_the_plan_of_what_is_left() -> None:
    assert plan(StopRule(), 1.0, trials_done=3, events_done=3).expected_trials == 2
    assert plan(StopRule(), 1.0, trials_done=5, events_done=5).expected_trials == 0
    assert plan(StopRule(), 1.0, trials_done=17, events_done=0).inconclusive == 1
    waiting = plan(StopRule(minimum_trials=8), 0.5, 0.1, trials_done=6, events_done=6)
    assert waiting.holds == pytest.approx(0.81)
    assert waiting.expected_trials == pytest.approx(1.9)
    assert plan(StopRule(budget=9, every_trial=True), 0.5, trials_done=4).expected_trials == 5


def test_alpha_is_spent_as_published_in_the_docs() -> None:
    rule = StopRule(budget=10_000)
    spent = [alpha_spent(rule, trials) for trials in (4, 5, 20, 100, 10_000)]
    assert spent == sorted(spent)
    assert spent[0] == 0
    assert spent[1] == pytest.approx(0.25**5)
    assert spent[2:] == [pytest.approx(x, abs=5e-4) for x in (0.0156, 0.0267, 0.0312)]
    assert max(spent) <= 0.5**5


@pytest.mark.parametrize(
    ("settings_", "word"),
    [
        ({"confidence": 1.0}, "confidence"),
        ({"confidence": 0.3}, "confidence"),
        ({"budget": 0}, "trials"),
        ({"budget": 4}, "at least 5 trials"),
        ({"minimum_trials": 21}, "minimum trials"),
        ({"minimum_trials": 0}, "minimum trials"),
    ],
)
def test_rules_that_cannot_work_are_refused(settings_: dict[str, float], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        StopRule(**settings_)  # type: ignore[arg-type]


def test_blocks_of_a_ledger() -> None:
    ledger = [
        (1, "fixed", "void"),
        (0, "fixed", "survived"),
        (0, "held-early", "crashed"),
        (0, "buggy", "reproduced"),
        (1, "buggy", "hung"),
        (1, "fixed", "survived"),
        (3, "buggy", "void"),
        (3, "fixed", "crashed"),
    ]
    assert blocks_of(ledger) == (
        SEPARATED,
        Block(HUNG, SURVIVED),
        Block(),
        Block(ArmCounts(), CRASHED),
    )
    assert blocks_of(reversed(ledger)) == blocks_of(ledger)
    assert blocks_of([]) == ()


@pytest.mark.parametrize(
    ("ledger", "message"),
    [
        ([(0, "buggy", "exploded")], "exploded"),
        ([(-1, "buggy", "survived")], "block number"),
        ([(0, "buggy", "survived")] * 2, "one counted trial of arm buggy"),
    ],
)
def test_impossible_ledgers_are_refused(ledger: list[tuple[int, str, str]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        blocks_of(ledger)


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="counts of 0 or more"):
        ArmCounts(reproduced=-1)
    with pytest.raises(ValueError, match="two probabilities"):
        plan(StopRule(), 1.2)
    with pytest.raises(ValueError, match="events <= trials"):
        plan(StopRule(), 0.5, trials_done=1, events_done=2)
