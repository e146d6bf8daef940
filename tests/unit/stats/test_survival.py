# SPDX-License-Identifier: BSD-2-Clause
"""Kaplan-Meier: a published data set, ties, censoring, and what must hold for any data."""

import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.stats.survival import TimeToEvent, curve, median

times = st.lists(
    st.builds(TimeToEvent, st.integers(0, 12).map(float), st.booleans()), min_size=1, max_size=30
)


def events(*values: float) -> list[TimeToEvent]:
    return [TimeToEvent(value, observed=True) for value in values]


def ended(*values: float) -> list[TimeToEvent]:
    return [TimeToEvent(value, observed=False) for value in values]


def test_remission_times_of_leukaemia_patients() -> None:
    # 6-MP arm of Freireich et al., Blood 21 (1963): in every textbook of survival analysis.
    data = events(6, 6, 6, 7, 10, 13, 16, 22, 23) + ended(
        6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35
    )
    known = {6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448}
    steps = {step.time: step for step in curve(data) if step.events}
    assert {time: round(step.survival, 3) for time, step in steps.items()} == known
    assert (steps[6].at_risk, steps[6].events) == (21, 3)
    assert steps[23].at_risk == 6
    low, high = steps[6].low, steps[6].high
    assert low is not None and high is not None
    assert (low, high) == (pytest.approx(0.620, abs=1e-3), pytest.approx(0.952, abs=1e-3))
    assert median(data) == 23


def test_nothing_watched() -> None:
    assert curve([]) == ()
    assert median([]) is None


def test_no_trial_showed_the_symptom() -> None:
    steps = curve(ended(1, 2, 2))
    assert [step.survival for step in steps] == [1.0, 1.0]
    assert all(step.low is None and step.high is None and step.events == 0 for step in steps)
    assert median(ended(1, 2, 2)) is None


def test_a_trial_that_ends_at_the_moment_of_an_event_was_at_risk() -> None:
    first, last = curve(events(1, 2) + ended(1))
    assert (first.at_risk, first.survival) == (3, pytest.approx(2 / 3))
    assert (last.at_risk, last.survival) == (1, 0.0)


def test_ties_fall_together() -> None:
    assert [(step.time, step.survival) for step in curve(events(2, 2, 2, 2))] == [(2.0, 0.0)]
    assert median(events(2, 2, 2, 2)) == 2


def test_median_at_exactly_one_half_despite_rounding() -> None:
    # (2/3)(1/2) and the like: the product that should be 1/2 is 0.5000000000000001 for some.
    for size in range(2, 60, 2):
        assert median(events(*range(1, size + 1))) == size / 2


def test_median_is_unknown_while_most_trials_survive() -> None:
    assert median(events(1, 2) + ended(30, 30, 30)) is None


@settings(max_examples=60, deadline=None)
@given(times)
def test_the_curve_falls_from_one_only_at_events(data: list[TimeToEvent]) -> None:
    steps = curve(data)
    assert [step.time for step in steps] == sorted({time.value for time in data})
    before = 1.0
    for step in steps:
        assert 0 <= step.survival <= before
        # The definition: each step multiplies by the share of those at risk that got through.
        assert step.survival == pytest.approx(before * (1 - step.events / step.at_risk))
        if step.low is not None and step.high is not None:
            assert 0 <= step.low <= step.survival + 1e-12
            assert step.survival - 1e-12 <= step.high <= 1
        before = step.survival
    assert sum(step.events for step in steps) == sum(time.observed for time in data)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 50).map(float), min_size=1, max_size=30))
def test_without_censoring_the_median_is_the_lower_median(values: list[float]) -> None:
    assert median(events(*values)) == statistics.median_low(values)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_impossible_times_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="time of 0 s or more"):
        curve(events(value))
