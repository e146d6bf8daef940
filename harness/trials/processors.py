# SPDX-License-Identifier: BSD-2-Clause
"""Whether a guest has the processors that a race needs."""

from collections.abc import Iterable, Iterator

from harness.errors import ConfigurationError
from harness.failpoints.grammar import parse_setting
from harness.plan.rules import FailpointModel, OrderModel
from harness.progress import Say


def require_vcpus(rules: Iterable[FailpointModel | OrderModel], vcpus: int, guest: str) -> None:
    """Raises ConfigurationError for a rule about a vCPU that a guest with `vcpus` of them lacks.

    Such a rule would never hold anybody, and what waits for such a vCPU would time out.
    """
    for rule in rules:
        for vcpu in _named(rule):
            if vcpu >= vcpus:
                has = "vCPU 0 only" if vcpus == 1 else f"vCPUs 0 to {vcpus - 1}"
                raise ConfigurationError(
                    f"{rule.name!r} names vCPU {vcpu}, and {guest} has {has}: write "
                    f"`vcpus = {vcpu + 1}` under [machine.{guest}], or name another vCPU"
                )


def warn_of_one_vcpu(vcpus: int, guest: str, say: Say) -> None:
    """Says that a guest with one processor shows no race that needs two at the same time."""
    if vcpus == 1:
        say(
            f"warning: {guest} has one vCPU: a race between two processors cannot happen there, "
            "and a survived trial says nothing of it"
        )


def _named(rule: FailpointModel | OrderModel) -> Iterator[int]:
    found: tuple[int | None, ...]
    if isinstance(rule, OrderModel):
        found = (rule.vcpu, rule.until.vcpu)
    else:
        found = tuple(term.vcpu for term in parse_setting(rule.do).terms)
    yield from (vcpu for vcpu in found if vcpu is not None)
