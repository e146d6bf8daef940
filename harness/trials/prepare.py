# SPDX-License-Identifier: BSD-2-Clause
"""From a target and a guest to arms that are ready to run."""

import functools
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from harness.errors import ConfigurationError, UsageError
from harness.failpoints.inside import GuestFailpoint
from harness.kernels.kernel import Kernel
from harness.kernels.override import SourceOverride, kernel_recipes
from harness.places.dwarf import LineTable
from harness.places.resolve import ResolvedPlace
from harness.plan.guest import GuestModel
from harness.plan.load import Guest, Target, load_guest
from harness.plan.needs import TargetMachineModel
from harness.plan.target import ArmModel, DebuggerModel, TargetModel
from harness.progress import Say
from harness.qemu.accelerator import TCG, choose_accelerator
from harness.qemu.command import Machine
from harness.qemu.guest import GuestFiles, GuestPlan, started_guest
from harness.qemu.process import require_qemu
from harness.systems.base import GuestImage, ImageOrder, WorkloadOrder
from harness.systems.machine import machine_of
from harness.systems.registry import SYSTEMS
from harness.systems.symbols import kernel_symbols
from harness.trials.arm import PreparedArm
from harness.trials.external import (
    ExternalFailpoints,
    KernelCode,
    is_plugin_rule,
    modules_of,
    needs_places,
    resolve_failpoints,
    resolve_place,
)
from harness.trials.inside import guest_failpoints, rehearse
from harness.trials.processors import require_vcpus, warn_of_one_vcpu

CompileWhere = Literal["guest", "host"]


@dataclass(frozen=True)
class Request:
    """What the user asked for: which target on which guest, with or without failpoints."""

    target: Target
    guest: Guest
    project: Path
    cache: Path
    failpoints: bool = True
    arms: tuple[str, ...] = ()
    """Arms to run beside buggy and fixed; empty: the target's default ones."""
    source: SourceOverride | None = None
    """Trees to build in place of the target's own."""
    compile: CompileWhere | None = None
    """Where the workload is compiled; None: in the guest, if it has a compiler."""
    debugger_commands: tuple[str, ...] = ()
    """What the kernel's debugger is asked about a crash, in place of the target's own."""

    @property
    def compiling_guest(self) -> GuestModel:
        """The guest that compiles: one that is like another one, and cannot, leaves it to that."""
        if self.guest.model.compiles:
            return self.guest.model
        return load_guest(self.project, self.guest.known_as).model

    @property
    def compile_where(self) -> CompileWhere:
        """Where the workload is compiled, decided."""
        return self.compile or ("guest" if self.compiling_guest.compiles else "host")


def chosen_arms(request: Request) -> list[ArmModel]:
    """The arms to run, buggy and fixed first. Raises UsageError for an unknown arm."""
    by_name = {arm.name: arm for arm in request.target.model.arms_on(request.guest.known_as)}
    if request.arms == ("all",):
        wanted = set(by_name)
    else:
        for name in request.arms:
            if name not in by_name:
                raise UsageError(
                    f"the target {request.target.name} has no arm {name!r} on "
                    f"{request.guest.name}; there are: " + ", ".join(by_name)
                )
        wanted = set(request.arms)
        if not wanted and request.failpoints:
            wanted = {arm.name for arm in by_name.values() if arm.default}
    wanted |= set(request.target.model.required_arms)
    return [arm for arm in by_name.values() if arm.name in wanted]


async def prepare_arms(request: Request, say: Say) -> list[PreparedArm]:
    """Fetches kernels, builds images and resolves every place, before the first trial.

    Raises HarnessError with what is missing.
    """
    model = request.target.model
    if request.guest.known_as not in model.guests:
        raise UsageError(
            f"the target {request.target.name} does not run on {request.guest.name}; it runs on: "
            + ", ".join(model.guests)
        )
    kernel_recipes(request.target, request.guest.known_as, request.source)  # before anything slow
    _debugger(request)
    arms = chosen_arms(request)
    if not request.failpoints:
        arms = [arm.model_copy(update={"use": []}) for arm in arms]
    machine = _machine(request, needs_tcg=_has_external(model), say=say)
    used = {name for arm in arms for name in arm.use}
    try:
        rules = [rule for rule in model.rules if rule.name in used]
        require_vcpus(rules, machine.vcpus, request.guest.known_as)
    except ConfigurationError as error:
        raise ConfigurationError(f"{request.target.where}: {error}") from error
    warn_of_one_vcpu(machine.vcpus, request.guest.name, say)
    workload = await _workload(request, arms[0].kernel, say)
    kernels: dict[str, ReadyKernel] = {}
    prepared = []
    for arm in arms:
        if arm.kernel not in kernels:
            kernels[arm.kernel] = _ready_kernel(request, arm.kernel, machine, workload, say)
        prepared.append(await _prepare_arm(request, arm, kernels[arm.kernel], workload, say))
    await _rehearse_inside(prepared, request.target.where, say)
    return prepared


@dataclass(frozen=True)
class ReadyKernel:
    """A kernel with its image: what can be booted."""

    kernel: Kernel
    image: GuestImage
    plan: GuestPlan


def _has_external(target: TargetModel) -> bool:
    """Whether some arm holds vCPUs from outside, for which all arms run on TCG."""
    used = {name for arm in target.arm for name in arm.use}
    return any(is_plugin_rule(rule) for rule in target.rules if rule.name in used)


def _machine(request: Request, needs_tcg: bool, say: Say) -> Machine:
    model = request.guest.model.machine
    wanted = request.target.model.machine.get(request.guest.known_as, TargetMachineModel())
    require_qemu(model.qemu)
    accelerator = TCG if needs_tcg else choose_accelerator(model.accelerator, model.qemu, say)
    machine = machine_of(model, accelerator)
    vcpus = wanted.vcpus if wanted.vcpus is not None else machine.vcpus
    return replace(machine, memory_nodes=wanted.memory_nodes, vcpus=vcpus)


def _kernel(request: Request, name: str, say: Say) -> Kernel:
    guest = request.guest
    recipe = kernel_recipes(request.target, guest.known_as, request.source)[name]
    return SYSTEMS[guest.model.system].acquire_kernel(
        recipe, guest.model, request.target.folder, request.cache, say
    )


def _ready_kernel(
    request: Request, name: str, machine: Machine, workload: Path | None, say: Say
) -> ReadyKernel:
    guest, model = request.guest, request.target.model
    recipe = kernel_recipes(request.target, guest.known_as, request.source)[name]
    system = SYSTEMS[guest.model.system]
    kernel = _kernel(request, name, say)
    if recipe.append:
        # arms of one binary differ in their command lines: the label tells them apart
        kernel = replace(kernel, label=f"{kernel.label} {' '.join(recipe.append)}")
    image = system.build_image(
        ImageOrder(guest.model, kernel, model.userland, workload, tuple(recipe.append)),
        request.cache,
        say,
    )
    return ReadyKernel(
        kernel, image, GuestPlan(machine, image.boot, guest.model.boot.seconds, login=image.login)
    )


async def prepare_kernel(request: Request, name: str, say: Say) -> ReadyKernel:
    """One of the target's kernels, ready to boot, for a person. Raises HarnessError."""
    machine = _machine(request, needs_tcg=_has_external(request.target.model), say=say)
    workload = await _workload(request, name, say)
    return _ready_kernel(request, name, machine, workload, say)


async def find_places(
    request: Request, name: str, say: Say
) -> list[tuple[str, ResolvedPlace | str]]:
    """Every place of the target in one of its kernels, or why it is not there."""
    ready = await prepare_kernel(request, name, say)
    code = await _kernel_code(request, ready, await _workload(request, name, say), say)
    found: list[tuple[str, ResolvedPlace | str]] = []
    for place in request.target.model.place:
        try:
            found.append((place.name, resolve_place(place, code)))
        except ConfigurationError as error:
            found.append((place.name, str(error)))
    return found


async def _workload(request: Request, kernel: str, say: Say) -> Path | None:
    """The program, compiled if it is a C file; None for a target without one.

    `kernel` is one of the target's, for a guest that is booted to compile and has none of its own.
    """
    workload = request.target.model.workload
    if not workload.program:
        return None
    source = request.project / "workloads" / workload.program
    if not source.is_file():
        raise ConfigurationError(
            f"{request.target.where}: workload.program: {source.name!r}: there is no such file in "
            f"{source.parent}"
        )
    if source.suffix != ".c":
        return source
    guest = request.compiling_guest
    in_guest = request.compile_where == "guest"
    order = WorkloadOrder(
        source,
        guest,
        in_guest,
        tuple(workload.flags),
        kernel=functools.partial(_kernel, request, kernel, say),
    )
    return await SYSTEMS[guest.system].compile_workload(order, request.cache, say)


async def _prepare_arm(
    request: Request, arm: ArmModel, ready: ReadyKernel, workload: Path | None, say: Say
) -> PreparedArm:
    model, guest = request.target.model, request.guest
    failpoints: ExternalFailpoints | None = None
    used = [rule for rule in model.rules if rule.name in arm.use]
    if any(needs_places(rule) for rule in used):
        code = await _kernel_code(request, ready, workload, say)
        try:
            failpoints = resolve_failpoints(model, arm, code, request.cache)
        except ConfigurationError as error:
            raise ConfigurationError(
                f"{request.target.where}: arm {arm.name} on {ready.kernel.label}: {error}"
            ) from error
    plan = ready.plan
    if model.own_initrd is not None:
        plan = replace(plan, boot=replace(plan.boot, initrd=Path(model.own_initrd)))
    extra = {} if arm.use else model.workload.args_without_failpoints
    return PreparedArm(
        name=arm.name,
        system=guest.model.system,
        expect=arm.expect,
        kernel=ready.kernel,
        plan=plan,
        image=ready.image,
        workload_args=model.workload.args | extra | arm.args,
        failpoints=failpoints,
        symptoms=tuple(model.symptom),
        adjust=tuple(model.adjust),
        heartbeat_seconds=model.workload.heartbeat_seconds,
        trial_seconds=model.budget.trial_seconds,
        arch=guest.model.arch,
        symbols_file=SYSTEMS[guest.model.system].symbols_file(ready.kernel, request.cache),
        guest_failpoints=_inside(request, model, arm),
        plain=model.workload.plain,
        boot_only=model.own_initrd is not None,
        debugger=_debugger(request),
    )


def _debugger(request: Request) -> DebuggerModel | None:
    """What the kernel's debugger is asked. Raises ConfigurationError, UsageError."""
    order, where = request.target.model.debugger, f"{request.target.where}: [debugger]"
    if request.debugger_commands:
        where = "--ddb"
        try:
            order = DebuggerModel(commands=list(request.debugger_commands))
        except ValidationError as error:
            raise UsageError(
                "--ddb: expected commands of printable characters, without a line's end; found "
                f"{request.debugger_commands}"
            ) from error
    if order is None:
        return None
    wrong = UsageError if request.debugger_commands else ConfigurationError
    debugger = SYSTEMS[request.guest.model.system].debugger
    if debugger is None:
        raise wrong(f"{where}: {request.guest.model.system} has no debugger on its console")
    for command in order.commands:
        if len(command) > debugger.longest_command:
            raise wrong(
                f"{where}: {debugger.name} takes {debugger.longest_command} bytes of a command, "
                f"and this one has {len(command)}: {command}"
            )
    return order


def _inside(request: Request, model: TargetModel, arm: ArmModel) -> tuple[GuestFailpoint, ...]:
    try:
        return guest_failpoints(model, arm)
    except ConfigurationError as error:
        raise ConfigurationError(f"{request.target.where}: {error}") from error


async def _rehearse_inside(arms: list[PreparedArm], where: str, say: Say) -> None:
    """Sets every failpoint inside a guest once, before a trial depends on it: one boot a kernel.

    Raises ConfigurationError for a name or setting that the kernel does not take.
    """
    boots: dict[tuple[object, ...], list[PreparedArm]] = {}
    for arm in arms:
        if arm.guest_failpoints:
            boots.setdefault((arm.plan, arm.image.setup), []).append(arm)
    for of_one_boot in boots.values():
        first = of_one_boot[0]
        say(f"booting {first.kernel.label} once to try the failpoints that it is to be set")
        with tempfile.TemporaryDirectory(prefix="harness-rehearsal-") as folder:
            files = GuestFiles.within(Path(folder))
            async with started_guest(first.plan, files) as guest:
                await guest.set_up(first.image.setup)
                for arm in of_one_boot:
                    try:
                        await rehearse(arm.guest_failpoints, guest.channel)
                    except ConfigurationError as error:
                        raise ConfigurationError(
                            f"{where}: arm {arm.name} on {arm.kernel.label}: {error}"
                        ) from error


async def _kernel_code(
    request: Request, ready: ReadyKernel, workload: Path | None, say: Say
) -> KernelCode:
    guest = request.guest.model
    system = SYSTEMS[guest.system]
    kernel, cache = ready.kernel, request.cache
    modules: dict[str, bytes] = {}
    for module in modules_of(request.target.model.place):
        try:
            modules[module] = system.module_code(kernel, module)
        except ConfigurationError as error:  # another spelling of the place may do
            say(f"places in {module}: {error}")
    setup = ready.image.setup if modules else ()
    symbols = await kernel_symbols(kernel, ready.plan, system, cache, say, setup)
    image = system.kernel_text(kernel, symbols)
    for module, code in modules.items():
        try:
            image = image.with_module(code, module, symbols)
        except ConfigurationError as error:
            say(f"places in {module}: {error}; `modules` under [userland] loads it")

    @functools.cache
    def lines(module: str | None) -> LineTable:
        data = system.debug_file(kernel, module, cache, say)
        if module is None:
            return LineTable.from_elf(data, f"the DWARF of {kernel.label}")
        if module not in image.modules:
            raise ConfigurationError(f"the module {module} is not loaded")
        source = f"the DWARF of {module} of {kernel.label}"
        return LineTable.from_module(data, image.modules[module].by_index, source)

    return KernelCode(
        arch=guest.arch,
        symbols=symbols,
        image=image,
        workload=workload.read_bytes() if workload is not None else None,
        lines=lines,
        lines_at_hand=kernel.package is None,
    )
