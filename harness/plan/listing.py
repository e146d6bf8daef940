# SPDX-License-Identifier: BSD-2-Clause
"""Every target on every guest it names, and whether this host can run it."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.plan.guest import GuestModel
from harness.plan.kernel import KernelRecipe
from harness.plan.load import guest_names, load_guest, load_target, target_names


@dataclass(frozen=True)
class Listed:
    """One target on one guest; `why_not` is None where this host can run it."""

    target: str
    title: str
    guest: str
    kernels: dict[str, str]
    arms: list[str]
    why_not: str | None


MissingTools = Callable[[GuestModel], str | None]
"""What this host lacks for a guest, and how to install it; None: nothing."""


def list_targets(project: Path, missing_tools: MissingTools) -> list[Listed]:
    """All combinations, by name. Raises ConfigurationError for a file that is not valid."""
    guests = {name: load_guest(project, name).model for name in guest_names(project)}
    rows = []
    for name in target_names(project):
        model = load_target(project, name).model
        for known_as in model.guests:
            alike = [other for other, guest in guests.items() if guest.like == known_as]
            rows += [
                Listed(
                    target=name,
                    title=model.title,
                    guest=guest,
                    kernels={
                        kernel: _described(recipes[known_as])
                        for kernel, recipes in model.kernels.items()
                        if known_as in recipes
                    },
                    arms=[arm.name for arm in model.arms_on(known_as)],
                    why_not=_why_not(guests.get(guest), missing_tools),
                )
                for guest in (known_as, *alike)
            ]
    return rows


def _described(recipe: KernelRecipe) -> str:
    if recipe.file is not None:
        return recipe.file
    if recipe.package is not None:
        return f"{recipe.package} ({recipe.suite})"
    return f"{recipe.source.origin} from source" if recipe.source else "nothing"


def _why_not(guest: GuestModel | None, missing_tools: MissingTools) -> str | None:
    if guest is None:
        return "no such guest config"
    if shutil.which(guest.machine.qemu) is None:
        return f"{guest.machine.qemu} is not installed: see `harness doctor`"
    return missing_tools(guest)
