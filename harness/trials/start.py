# SPDX-License-Identifier: BSD-2-Clause
"""Starting a campaign, or going on with one: from the user's request to its summary."""

import hashlib
import json
import platform
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import harness
from harness.errors import ConfigurationError
from harness.files import file_hash
from harness.kernels.override import kernel_recipes, pinned
from harness.plan.load import Target
from harness.plan.target import RunModel
from harness.qemu.process import qemu_version
from harness.stats.sequential import StopRule
from harness.trials.arm import PreparedArm
from harness.trials.campaign import CampaignRules, run_campaign
from harness.trials.events import Watcher
from harness.trials.external import places_as_json
from harness.trials.prepare import Request, prepare_arms
from harness.trials.record import CampaignFolder, create_campaign
from harness.trials.recorded import recorded_request


@dataclass(frozen=True)
class Options:
    """What the user may choose beside target and guest; None leaves it to the target."""

    trials: int | None = None
    """Exactly so many counted trials per arm, without early stop."""
    confidence: float | None = None
    seed: int | None = None
    cold_boot: bool = False
    dump_memory: bool = False
    """Keep the memory of guests that crash or hang."""


async def start_campaign(
    request: Request, options: Options, results: Path, watcher: Watcher
) -> CampaignFolder:
    """Prepares and runs a new campaign; its folder has the summary. Raises HarnessError."""
    if request.source is not None:
        # before a long fetch
        kernel_recipes(request.target, request.guest.known_as, request.source)
        request = replace(request, source=pinned(request.source, request.cache, watcher.say))
    budget = request.target.model.budget
    plan: dict[str, Any] = {
        "target": request.target.name,
        "guest": request.guest.name,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seed": options.seed if options.seed is not None else secrets.randbits(32),
        "confidence": options.confidence or budget.confidence,
        "trials": options.trials or budget.trials,
        "every_trial": options.trials is not None,
        "with_failpoints": request.failpoints,
        "chosen_arms": list(request.arms),
        "source": request.source.as_json() if request.source else None,
        "image": image.model_dump() if (image := request.guest.model.image) else None,
        "compile": request.compile_where,
        "snapshots": request.guest.model.boot.snapshot
        and not options.cold_boot
        and request.target.model.own_initrd is None,
        "dump_memory": options.dump_memory,
        "debugger_commands": list(request.debugger_commands),
        "inputs": inputs_hash(request),
    }
    if isinstance(request.target.model, RunModel):  # there is no target.toml to read it from again
        plan |= {"run": request.target.model.model_dump(mode="json", exclude_unset=True)}
    rules = _rules(plan, request.target)
    arms = await prepare_arms(request, watcher.say)
    plan |= _prepared_plan(request, arms)
    folder = create_campaign(results, f"{request.target.name}-{request.guest.name}", plan)
    await run_campaign(folder, _dumping(plan, arms), rules, watcher)
    return folder


async def resume_campaign(
    folder: CampaignFolder, project: Path, cache: Path, watcher: Watcher
) -> None:
    """Goes on with a campaign under the plan it was started with; a finished one stays as it is.

    Raises ConfigurationError where target, guest config or workload have changed since, because
    old and new trials would then not be of one kind.
    """
    if folder.is_complete():
        return
    plan = folder.plan()
    request = recorded_request(plan, project, cache)
    if inputs_hash(request) != plan["inputs"]:
        raise ConfigurationError(
            f"{request.target.where}, {request.guest.file} or the workload has changed since "
            f"{folder.name} was started: start a new campaign, or put the files back"
        )
    arms = await prepare_arms(request, watcher.say)
    for arm in arms:
        if arm.kernel.identity != plan["arms"][arm.name]["kernel_identity"]:
            raise ConfigurationError(
                f"the arm {arm.name} would now run {arm.kernel.label}, another kernel than "
                f"{folder.name} was started with: start a new campaign"
            )
    await run_campaign(folder, _dumping(plan, arms), _rules(plan, request.target), watcher)


def _dumping(plan: dict[str, Any], arms: list[PreparedArm]) -> list[PreparedArm]:
    """The arms, so that their trials dump memory if the plan says so."""
    return [replace(arm, dump_memory=plan.get("dump_memory", False)) for arm in arms]


def _rules(plan: dict[str, Any], target: Target) -> CampaignRules:
    budget = target.model.budget
    return CampaignRules(
        seed=plan["seed"],
        stop=StopRule(
            confidence=plan["confidence"],
            budget=plan["trials"],
            minimum_trials=1 if plan["every_trial"] else budget.minimum_trials,
            every_trial=plan["every_trial"],
        ),
        voids=budget.voids,
        use_snapshots=plan["snapshots"],
        only_arm=isinstance(target.model, RunModel),
    )


def _prepared_plan(request: Request, arms: list[PreparedArm]) -> dict[str, Any]:
    machine = arms[0].plan.machine
    model = request.target.model
    chosen = model.arms_on(request.guest.known_as)
    used = {name for arm in chosen for name in arm.use} if request.failpoints else set()
    return {
        "accelerator": machine.accelerator.partition(",")[0],
        "arms": {arm.name: _arm_plan(arm) for arm in arms},
        "failpoints": {
            rule.name: rule.model_dump(exclude_none=True)
            for rule in model.rules
            if rule.name in used
        },
        "versions": {
            "harness": harness.__version__,
            "qemu": qemu_version(machine.binary),
            "python": platform.python_version(),
            "host": platform.platform(),
        },
    }


def _arm_plan(arm: PreparedArm) -> dict[str, Any]:
    return {
        "kernel": arm.kernel.label,
        "kernel_identity": arm.kernel.identity,
        "kernel_source": arm.kernel.source,
        "kernel_commit": arm.kernel.commit,
        "expect": arm.expect,
        "workload_args": arm.workload_args,
        "rules": _rule_names(arm),
        "places": places_as_json(arm.failpoints) if arm.failpoints else {},
    }


def _rule_names(arm: PreparedArm) -> list[str]:
    names = [failpoint.name for failpoint in arm.guest_failpoints]
    if arm.failpoints is not None:
        names += [rule.name for rule in arm.failpoints.plan.rules]
        names += [forced.name for forced in arm.failpoints.returns]
    return names


def inputs_hash(request: Request) -> str:
    """One hash over what decides what the trials do, beside the kernels."""
    workloads = request.project / "workloads"
    digest = hashlib.sha256(
        json.dumps(
            [request.target.model.model_dump(), request.guest.model.model_dump()], sort_keys=True
        ).encode()
    )
    program = workloads / request.target.model.workload.program
    # one of the user's own is named by its absolute path, and finds the headers beside it
    headers = program.parent if request.target.model.workload.program else workloads
    for file in (program, *sorted(headers.glob("*.h"))):
        digest.update(file.read_bytes() if file.is_file() else b"")
    for text in _own_files(request):
        digest.update(text.encode())
    return digest.hexdigest()


def _own_files(request: Request) -> Iterator[str]:
    """What tells the user's own initramfs and modules from others; the kernel has its identity."""
    model = request.target.model
    if model.own_initrd is not None:
        initrd = Path(model.own_initrd)
        yield file_hash(initrd) if initrd.is_file() else "none"
    for kernels in model.kernels.values():
        recipe = kernels.get(request.guest.known_as)
        if recipe is not None and recipe.modules is not None:
            for file in sorted(Path(recipe.modules).rglob("*")):
                found = file.lstat()
                yield f"{file} {found.st_size} {found.st_mtime_ns}\n"
