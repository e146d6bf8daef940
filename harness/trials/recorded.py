# SPDX-License-Identifier: BSD-2-Clause
"""What a recorded campaign was asked for, read back from its plan."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.kernels.override import SourceOverride
from harness.plan.guest import ImageModel
from harness.plan.load import Guest, load_guest, load_target
from harness.plan.run import run_target
from harness.trials.prepare import Request


def recorded_request(
    plan: Mapping[str, Any], project: Path, cache: Path, arms: Sequence[str] | None = None
) -> Request:
    """The request behind a campaign.json; `arms` in place of those that it chose.

    Raises UsageError, ConfigurationError where target or guest are not (any more) what they were.
    """
    return Request(
        target=run_target(plan["run"]) if "run" in plan else load_target(project, plan["target"]),
        guest=_guest(plan, project),
        project=project,
        cache=cache,
        failpoints=plan["with_failpoints"],
        arms=tuple(plan["chosen_arms"] if arms is None else arms),
        source=SourceOverride.from_json(plan.get("source")),
        compile=plan.get("compile", "host"),  # what all campaigns did before they could choose
        debugger_commands=tuple(plan.get("debugger_commands", ())),
    )


def _guest(plan: Mapping[str, Any], project: Path) -> Guest:
    guest = load_guest(project, plan["guest"])
    if plan.get("image") is None or guest.model.image is None:
        return guest
    image = ImageModel.model_validate(plan["image"])
    return replace(guest, model=guest.model.model_copy(update={"image": image}))
