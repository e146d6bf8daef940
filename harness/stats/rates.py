# SPDX-License-Identifier: BSD-2-Clause
"""A rate with its exact (Clopper-Pearson) interval."""

from dataclasses import dataclass

from scipy.stats import binomtest


@dataclass(frozen=True)
class Rate:
    """How often something happened in independent trials.

    `estimate`, `low`, `high` and `confidence` are probabilities; `estimate` is None when there
    was no trial, and the interval is then (0, 1): nothing is known.
    """

    successes: int
    trials: int
    estimate: float | None
    low: float
    high: float
    confidence: float


def rate(successes: int, trials: int, confidence: float = 0.95) -> Rate:
    """The rate of `successes` in `trials`, with a two-sided exact interval at `confidence`.

    The interval covers the true rate with at least that probability whatever the rate is
    (Clopper and Pearson, Biometrika 26 (1934), 404-413). Raises ValueError unless
    0 <= successes <= trials and 0 < confidence < 1.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"expected 0 <= successes <= trials, found {successes} of {trials}")
    check_confidence(confidence)
    if trials == 0:
        return Rate(0, 0, None, 0.0, 1.0, confidence)
    interval = binomtest(successes, trials).proportion_ci(confidence, method="exact")
    return Rate(
        successes=successes,
        trials=trials,
        estimate=successes / trials,
        low=float(interval.low),
        high=float(interval.high),
        confidence=confidence,
    )


def check_confidence(confidence: float) -> None:
    """Raises ValueError unless `confidence` is a probability strictly between 0 and 1."""
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"expected a confidence strictly between 0 and 1, found {confidence}")
