# SPDX-License-Identifier: BSD-2-Clause
"""Time to reproduction as survival data: Kaplan-Meier curve and median, with censored trials."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite, isnan
from typing import Any

from scipy.stats import CensoredData, ecdf

from harness.stats.rates import check_confidence

# The curve is a product of fractions: a half reached exactly may come out a little above it.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class TimeToEvent:
    """How long a trial ran (seconds): until the symptom if `observed`, else until it was ended."""

    value: float
    observed: bool


@dataclass(frozen=True)
class SurvivalStep:
    """The curve from `time` (seconds) until the next step.

    `survival` is the estimated probability that the symptom takes longer than `time`; `low` and
    `high` bound it pointwise, None where Greenwood's variance says nothing: before the first
    event (survival 1) and after the last if nobody is left (survival 0). `at_risk` trials were
    still running just before `time`, and `events` of them showed the symptom at it.
    """

    time: float
    survival: float
    low: float | None
    high: float | None
    at_risk: int
    events: int


def curve(times: Iterable[TimeToEvent], confidence: float = 0.95) -> tuple[SurvivalStep, ...]:
    """The Kaplan-Meier curve, one step for each different time; empty when there are no times.

    A trial that ended without the symptom counts as at risk until its end, and at a tie after
    the events of that moment (Kaplan and Meier, JASA 53 (1958), 457-481). The band is pointwise
    from Greenwood's variance on the log(-log) scale, which keeps it within (0, 1). Both are
    `scipy.stats.ecdf`'s. Raises ValueError if a time is negative or not finite, or `confidence`
    is not within (0, 1).
    """
    check_confidence(confidence)
    times = tuple(times)
    for time in times:
        if not (isfinite(time.value) and time.value >= 0):
            raise ValueError(f"expected a time of 0 s or more, found {time.value}")
    if not times:
        return ()
    observed = [time.value for time in times if time.observed]
    survival = ecdf(
        CensoredData(
            uncensored=observed,
            right=[time.value for time in times if not time.observed],
        )
    ).sf
    with warnings.catch_warnings():
        # "undefined at some observations": those become None.
        warnings.simplefilter("ignore", RuntimeWarning)
        band = survival.confidence_interval(confidence, method="log-log")
    # scipy-stubs calls the bounds numbers; they are curves like `survival`.
    low: Any = band.low
    high: Any = band.high
    return tuple(
        SurvivalStep(
            time=float(at),
            survival=float(survival.probabilities[i]),
            low=_defined(float(low.probabilities[i])),
            high=_defined(float(high.probabilities[i])),
            at_risk=sum(time.value >= float(at) for time in times),
            events=observed.count(float(at)),
        )
        for i, at in enumerate(survival.quantiles)
    )


def median(times: Iterable[TimeToEvent]) -> float | None:
    """The first time (seconds) at which the survival curve is at a half or below.

    None if it never falls so far, because too many trials ended without the symptom, or there
    are none: the median is then longer than what was watched. Raises ValueError as `curve` does.
    """
    for step in curve(times):
        if step.survival <= 0.5 + _ROUNDING:
            return step.time
    return None


def _defined(bound: float) -> float | None:
    return None if isnan(bound) else bound
