# SPDX-License-Identifier: BSD-2-Clause
"""The stop rule: whether "buggy reproduces, fixed is clean" holds, fails or needs more trials.

After each complete block (one counted trial of every arm) the rule looks at the counts so far.
It says `holds` once the buggy arm has reproduced `events_needed` times while every trial of the
fixed arm survived. Let the two kernels have the same rate p. One more block then multiplies

    M = 2^(buggy reproductions) if the fixed arm is clean, else 0

by (1 + p)(1 - p) <= 1 on average, so M is a nonnegative supermartingale that starts at 1, and by
Ville's inequality the chance that it ever reaches 2^k is at most 2^-k (J. Ville, "Etude critique
de la notion de collectif", 1939; Ramdas, Gruenwald, Vovk and Shafer, Statistical Science 38
(2023), 576-601). In words: were the kernels the same, each reproduction would be as likely on
either side, and k on the buggy side before any on the other is a coin falling k times alike. So
1/M is a p-value that is valid at every look, however many there are; it stays so when the rate
drifts from block to block, and when the fixed kernel's rate is the higher one.

No state is kept: the same ledger gives the same decision, whenever and however often asked.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from math import nextafter

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import binom, nbinom

from harness.errors import UsageError
from harness.stats.comparison import chance_of_silence
from harness.stats.rates import rate


class Claim(StrEnum):
    """What the trials say of "the buggy kernel reproduces and the fixed kernel is clean".

    Of a single arm they say whether its symptom was `seen`, or that all was `clean`.
    """

    HOLDS = "holds"
    FAILS = "fails"
    INCONCLUSIVE = "inconclusive"
    SEEN = "seen"
    CLEAN = "clean"


@dataclass(frozen=True)
class ArmCounts:
    """Trials of one arm by verdict; void trials are no evidence and are not here."""

    reproduced: int = 0
    crashed: int = 0
    hung: int = 0
    survived: int = 0

    def __post_init__(self) -> None:
        if min(self.reproduced, self.crashed, self.hung, self.survived) < 0:
            raise ValueError(f"expected counts of 0 or more, found {self}")

    def __add__(self, other: "ArmCounts") -> "ArmCounts":
        return ArmCounts(
            self.reproduced + other.reproduced,
            self.crashed + other.crashed,
            self.hung + other.hung,
            self.survived + other.survived,
        )

    @property
    def trials(self) -> int:
        """Counted trials."""
        return self.reproduced + self.crashed + self.hung + self.survived

    @property
    def clean(self) -> bool:
        """Whether every counted trial survived."""
        return self.trials == self.survived


@dataclass(frozen=True)
class Block:
    """The counted trials of one block; complete once both arms have their one."""

    buggy: ArmCounts = ArmCounts()
    fixed: ArmCounts = ArmCounts()

    @property
    def complete(self) -> bool:
        """Whether the block may be looked at."""
        return self.buggy.trials == self.fixed.trials == 1


@dataclass(frozen=True)
class StopRule:
    """When a campaign ends; trials are counted ones per arm.

    `confidence` is the probability, within [0.5, 1), with which `holds` may be believed: said of
    two equal kernels, it is wrong with probability 1 - confidence at most. `budget` is the most
    trials; `minimum_trials` the fewest before `holds`. With `every_trial` exactly `budget`
    trials run, and the rule looks once, at their end, with the whole error probability.

    Raises UsageError if a value is out of range or the budget is too small for the confidence.
    """

    confidence: float = 0.95
    budget: int = 20
    minimum_trials: int = 1
    every_trial: bool = False

    def __post_init__(self) -> None:
        if not 0.5 <= self.confidence < 1:
            raise UsageError(
                f"confidence: expected at least 0.5 and less than 1, found {self.confidence}"
            )
        if self.budget < 1:
            raise UsageError(f"trials: expected 1 or more per arm, found {self.budget}")
        if self.every_trial:
            return
        if not 1 <= self.minimum_trials <= self.budget:
            raise UsageError(
                f"minimum trials: expected 1 to the budget of {self.budget} per arm, "
                f"found {self.minimum_trials}"
            )
        if self.budget < self.events_needed:
            raise UsageError(
                f"budget: expected at least {self.events_needed} trials per arm, without which a "
                f"confidence of {self.confidence:g} cannot be reached, found {self.budget}; raise "
                "the budget or lower the confidence"
            )

    @property
    def error(self) -> float:
        """The largest probability of `holds` for two equal kernels that may be risked."""
        return 1 - self.confidence

    @property
    def events_needed(self) -> int:
        """Buggy reproductions, with the fixed arm clean, at which a sequential campaign holds."""
        events = 1
        while 0.5**events > self.error:
            events += 1
        return events


@dataclass(frozen=True)
class Decision:
    """The rule's answer.

    `stop`: no further trial is needed. `confidence` = 1 - `p_value`, within [0, 1): how sure the
    trials make us that the fixed kernel is clean because its rate is lower, allowing for every
    look so far; 0 once the fixed arm was not clean, since a failure is seen and not inferred.
    `alpha_spent`: the largest probability, over all rates that the two kernels could share, of
    having said `holds` by now. `trials`: per arm, in the complete blocks looked at. `events`:
    buggy reproductions among them. `reason`: one sentence for people.
    """

    claim: Claim
    stop: bool
    confidence: float
    p_value: float
    alpha_spent: float
    trials: int
    events: int
    reason: str


@dataclass(frozen=True)
class Plan:
    """What to expect of the rest of a campaign.

    `expected_trials`: mean number of further trials per arm. `holds`, `fails`, `inconclusive`:
    probabilities of the three ends, which sum to 1; `holds` is the rule's power.
    """

    expected_trials: float
    holds: float
    fails: float
    inconclusive: float


def blocks_of(
    trials: Iterable[tuple[int, str, str]], buggy: str = "buggy", fixed: str = "fixed"
) -> tuple[Block, ...]:
    """A ledger's trials (block number from 0, arm, verdict), in any order, as blocks in order.

    Trials of other arms and void trials are left out; a block without trials stays, incomplete.
    Raises ValueError if a verdict is unknown, a block number negative, or an arm has two counted
    trials in one block.
    """
    blocks: dict[int, Block] = {}
    for number, arm, verdict in trials:
        if number < 0:
            raise ValueError(f"expected a block number of 0 or more, found {number}")
        if arm not in (buggy, fixed) or verdict == "void":
            continue
        one = _count_of(verdict)
        block = blocks.get(number, Block())
        block = (
            Block(block.buggy + one, block.fixed)
            if arm == buggy
            else Block(block.buggy, block.fixed + one)
        )
        if max(block.buggy.trials, block.fixed.trials) > 1:
            raise ValueError(f"expected one counted trial of arm {arm} in block {number}, found 2")
        blocks[number] = block
    return tuple(blocks.get(number, Block()) for number in range(max(blocks, default=-1) + 1))


def decide(rule: StopRule, blocks: Sequence[Block]) -> Decision:
    """What the blocks of a campaign, in order, say of its claim, and whether to stop.

    Evidence for `holds` is taken from complete blocks only, up to the first incomplete one: were
    trials counted as they end, the quick ones (reproductions) would be seen before the slow ones.
    A fixed arm that was not clean fails the claim in whichever block it happened.
    """
    seen = _complete_prefix(rule, blocks)
    trials = len(seen)
    buggy = sum((block.buggy for block in seen), ArmCounts())
    fixed_everywhere = sum((block.fixed for block in blocks), ArmCounts())
    done = trials == rule.budget
    if not fixed_everywhere.clean:
        claim, p_value = Claim.FAILS, 1.0
        stop = done or not rule.every_trial
        reason = _not_clean(fixed_everywhere)
    elif rule.every_trial:
        p_value = chance_of_silence(buggy.reproduced, trials, 0, trials) if done else 1.0
        claim = Claim.HOLDS if p_value <= rule.error else Claim.INCONCLUSIVE
        stop = done
        reason = _fixed_length_reason(rule, buggy, trials, p_value)
    else:
        p_value = 0.5**buggy.reproduced
        holds = p_value <= rule.error and trials >= rule.minimum_trials
        claim = Claim.HOLDS if holds else Claim.INCONCLUSIVE
        out_of_reach = buggy.reproduced + rule.budget - trials < rule.events_needed
        stop = holds or out_of_reach
        reason = _sequential_reason(rule, buggy, trials, p_value, stop)
    return Decision(
        claim=claim,
        stop=stop,
        # 1 - 2^-60 rounds to 1, and nothing is that certain.
        confidence=min(1 - p_value, nextafter(1.0, 0.0)),
        p_value=p_value,
        alpha_spent=alpha_spent(rule, trials),
        trials=trials,
        events=buggy.reproduced,
        reason=reason,
    )


@lru_cache(maxsize=4096)
def alpha_spent(rule: StopRule, trials: int) -> float:
    """The largest probability of `holds` within `trials` per arm for two equal kernels.

    Exact for each common rate, and maximised over it; it grows with `trials` and never passes
    `rule.error`. With `every_trial` all of it is spent at the single look, at the end.
    """
    if rule.every_trial:
        return rule.error if trials >= rule.budget else 0.0
    needed = max(rule.events_needed, rule.minimum_trials)
    if trials < needed:
        return 0.0

    def holds(log_rate: float) -> float:
        shared = float(np.exp(log_rate))
        return _holds_sequentially(rule.events_needed, needed, trials, shared, shared)

    # The probability rises and then falls in the rate: a grid brackets its top. Rates far below
    # 1/trials give no event at all.
    grid = np.linspace(np.log(1e-2 / trials), np.log(0.999), 64)
    best = int(np.argmax([holds(float(x)) for x in grid]))
    bounds = (grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)])
    top = minimize_scalar(lambda x: -holds(float(x)), bounds=bounds, method="bounded")
    return min(max(holds(float(top.x)), holds(float(grid[best]))), rule.error)


def plan(
    rule: StopRule,
    buggy_rate: float,
    fixed_rate: float = 0.0,
    trials_done: int = 0,
    events_done: int = 0,
) -> Plan:
    """What the rest of a campaign will cost and say if the arms' true rates are these.

    In: the rates per trial (probabilities; `fixed_rate` that of a trial of the fixed arm not
    being clean), and what there is already: complete blocks, and buggy reproductions in them, the
    fixed arm having been clean. Exact, by the negative binomial law. Raises ValueError if a
    rate is not a probability or the counts are impossible.
    """
    if not (0 <= buggy_rate <= 1 and 0 <= fixed_rate <= 1):
        raise ValueError(f"expected two probabilities, found {buggy_rate} and {fixed_rate}")
    if not 0 <= events_done <= trials_done <= rule.budget:
        raise ValueError(
            f"expected 0 <= events <= trials <= {rule.budget}, "
            f"found {events_done} and {trials_done}"
        )
    left = rule.budget - trials_done
    clean = (1 - fixed_rate) ** np.arange(left + 1)
    if rule.every_trial:
        events = np.arange(left + 1)
        enough = [
            chance_of_silence(events_done + int(k), rule.budget, 0, rule.budget) <= rule.error
            for k in events
        ]
        silent = float(clean[left])
        holds = silent * min(1.0, float(binom.pmf(events, left, buggy_rate)[enough].sum()))
        return Plan(left, holds, 1 - silent, max(0.0, silent - holds))
    needed = max(0, rule.events_needed - events_done)
    minimum = max(0, rule.minimum_trials - trials_done)
    after = np.arange(left)
    # Running on after k more blocks: neither enough events (which count from the minimum on) nor
    # so few that what is left of the budget cannot bring enough.
    most = np.where(after < minimum, after, needed - 1)
    fewest = needed - (left - after)
    running = np.maximum(
        0.0, binom.cdf(most, after, buggy_rate) - binom.cdf(fewest - 1, after, buggy_rate)
    )
    running = running * clean[:left]
    fails = float(running.sum()) * fixed_rate
    holds = _holds_sequentially(needed, minimum, left, buggy_rate, fixed_rate)
    return Plan(float(running.sum()), holds, fails, max(0.0, 1 - holds - fails))


def _holds_sequentially(
    needed: int, minimum: int, trials: int, buggy_rate: float, fixed_rate: float
) -> float:
    """P(`needed` buggy events within `trials` blocks, the fixed arm clean until then)."""
    if needed == 0:
        return (1 - fixed_rate) ** minimum if minimum <= trials else 0.0
    if buggy_rate == 0 or trials < max(needed, minimum):
        return 0.0
    reached = np.arange(needed, trials + 1)
    at = nbinom.pmf(reached - needed, needed, buggy_rate)
    return min(1.0, float((at * (1 - fixed_rate) ** np.maximum(reached, minimum)).sum()))


def _complete_prefix(rule: StopRule, blocks: Sequence[Block]) -> Sequence[Block]:
    for number, block in enumerate(blocks[: rule.budget]):
        if not block.complete:
            return blocks[:number]
    return blocks[: rule.budget]


def _count_of(verdict: str) -> ArmCounts:
    match verdict:
        case "reproduced":
            return ArmCounts(reproduced=1)
        case "crashed":
            return ArmCounts(crashed=1)
        case "hung":
            return ArmCounts(hung=1)
        case "survived":
            return ArmCounts(survived=1)
    raise ValueError(
        f"expected reproduced, crashed, hung, survived or void as verdict, found {verdict!r}"
    )


def _not_clean(fixed: ArmCounts) -> str:
    seen = [
        f"{word} {count} time{'s' if count > 1 else ''}"
        for word, count in (
            ("reproduced", fixed.reproduced),
            ("crashed", fixed.crashed),
            ("hung", fixed.hung),
        )
        if count
    ]
    return f"the fixed arm is not clean: {', '.join(seen)} in {fixed.trials} trials"


def _sequential_reason(
    rule: StopRule, buggy: ArmCounts, trials: int, p_value: float, stop: bool
) -> str:
    counts = _counts(buggy, trials)
    if not stop:
        missing = rule.events_needed - buggy.reproduced
        if missing > 0:
            return f"{counts}; {missing} more of the buggy arm needed with the fixed arm clean"
        return f"{counts}; the minimum of {rule.minimum_trials} trials per arm is not reached"
    if buggy.reproduced >= rule.events_needed:
        return f"{counts}: a probability of at most {p_value:.2g} were the kernels equal"
    return (
        f"{_too_few(rule, buggy, trials)}; {rule.events_needed} needed for a confidence of "
        f"{rule.confidence:g}, which the budget of {rule.budget} trials per arm cannot bring"
    )


def _fixed_length_reason(rule: StopRule, buggy: ArmCounts, trials: int, p_value: float) -> str:
    counts = _counts(buggy, trials)
    if trials < rule.budget:
        return f"{counts}; decided after {rule.budget} trials per arm"
    if p_value <= rule.error:
        return f"{counts}: a probability of at most {p_value:.2g} were the kernels equal"
    return (
        f"{_too_few(rule, buggy, trials)}; the fixed arm's silence may be chance (p = "
        f"{p_value:.2g}, at most {rule.error:.2g} asked)"
    )


def _counts(buggy: ArmCounts, trials: int) -> str:
    return f"buggy reproduced in {buggy.reproduced} of {trials} trials, fixed clean in {trials}"


def _too_few(rule: StopRule, buggy: ArmCounts, trials: int) -> str:
    estimate = rate(buggy.reproduced, trials, rule.confidence)
    other = [f"{n} {word}" for word, n in (("crashed", buggy.crashed), ("hung", buggy.hung)) if n]
    otherwise = f" ({' and '.join(other)} otherwise)" if other else ""
    how_often = (
        f"reproduced in {buggy.reproduced} of" if buggy.reproduced else "never reproduced in"
    )
    return (
        f"the buggy arm {how_often} {trials} trials{otherwise}, a rate of at most "
        f"{estimate.high:.2g} at {rule.confidence:g}"
    )
