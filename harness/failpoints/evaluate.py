# SPDX-License-Identifier: BSD-2-Clause
"""fail(9)'s rules carried out on the host: which terms execute at a pass, under a seed."""

import random

from harness.failpoints.grammar import PPM_ALWAYS, Action, Setting, Term


class Evaluator:
    """One failpoint of one trial. The same seed and passes give the same terms."""

    def __init__(self, setting: Setting, seed: int) -> None:
        self._terms = setting.reachable_terms
        self._left = [term.count for term in self._terms]
        self._random = random.Random(seed)
        self.evaluated = 0
        self.fired = 0

    def terms_at(self, vcpu: int) -> tuple[Term, ...]:
        """The terms that execute at a pass of a virtual CPU: none, one, or prints before it.

        Probability is evaluated before the count, a term that does not execute passes on to the
        next, and so does a print with an argument other than 0.
        """
        self.evaluated += 1
        executed: list[Term] = []
        for index, term in enumerate(self._terms):
            if self._left[index] == 0 or term.vcpu not in (None, vcpu):
                continue
            if term.ppm < PPM_ALWAYS and self._random.randrange(PPM_ALWAYS) >= term.ppm:
                continue
            left = self._left[index]
            if left is not None:
                self._left[index] = left - 1
            executed.append(term)
            if not (term.action is Action.PRINT and term.argument):
                break
        self.fired += bool(executed)
        return tuple(executed)
