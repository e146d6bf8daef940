# SPDX-License-Identifier: BSD-2-Clause
"""What the plugin has counted, as values."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PointStatistics:
    """How often a point was come to (`arrivals`) and left (`passes`), per vCPU, since the start.

    `instrumented` tells for each address how often translated code with it got the plugin's
    callback: 0 means that no instruction that begins there was translated, so never executed.
    """

    arrivals: tuple[int, ...]
    passes: tuple[int, ...]
    instrumented: dict[int, int]

    @property
    def hits(self) -> int:
        """All vCPUs' arrivals, whether the plugin was armed or not."""
        return sum(self.arrivals)


@dataclass(frozen=True)
class RuleStatistics:
    """What became of a rule since the start, or since the rules were last changed.

    `evaluated`: somebody came to it while it was armed. `entered`: holds begun, of which so many
    `reached` their order, `timed_out`, were `cancelled` (disarmed), or `delayed` to their end.
    `fired` counts per term. Times are in seconds.
    """

    evaluated: int
    entered: int
    reached: int
    timed_out: int
    cancelled: int
    delayed: int
    held_s: float
    longest_s: float
    fired: tuple[int, ...]


@dataclass(frozen=True)
class HeldVcpu:
    """A vCPU that is held now: by which rule, and since when (seconds, CLOCK_MONOTONIC)."""

    vcpu: int
    rule: str
    since_s: float


@dataclass(frozen=True)
class PluginStatistics:
    """The plugin's counters at one moment; a QEMU that is not attached yet has `api_version` 0.

    `lost_events` were overwritten in the ring before they were drained.
    """

    points: dict[str, PointStatistics]
    rules: dict[str, RuleStatistics]
    held: tuple[HeldVcpu, ...]
    attempts: int
    blocks_translated: int
    events: int
    lost_events: int
    api_version: int
    vcpus: int
    target: str

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON; addresses are hexadecimal strings."""
        return {
            "points": {
                name: {
                    "arrivals": list(point.arrivals),
                    "passes": list(point.passes),
                    "instrumented": {hex(a): n for a, n in point.instrumented.items()},
                }
                for name, point in self.points.items()
            },
            "rules": {
                name: {**vars(rule), "fired": list(rule.fired)} for name, rule in self.rules.items()
            },
            "held": [vars(held) for held in self.held],
            "attempts": self.attempts,
            "blocks_translated": self.blocks_translated,
            "events": self.events,
            "lost_events": self.lost_events,
            "api_version": self.api_version,
            "vcpus": self.vcpus,
            "target": self.target,
        }
