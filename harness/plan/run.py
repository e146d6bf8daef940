# SPDX-License-Identifier: BSD-2-Clause
"""What `harness run` is asked for, as a target of one arm that no file describes."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from pydantic import ValidationError

from harness.errors import UsageError
from harness.failpoints.mechanisms import MECHANISMS
from harness.plan.load import Guest, Target, what_is_wrong
from harness.plan.offer import RunOffer
from harness.plan.target import RunModel

TARGET = "run"
ARM = "run"
_ROOT = Path("/")
"""The folder of a target without one: all of its files have absolute paths."""
_MACHINES = {
    "x86_64": "EM_X86_64", "i386": "EM_386", "arm64": "EM_AARCH64", "ppc64le": "EM_PPC64",
}  # fmt: skip
_IDLE = "exec sleep 1000000"
_ANY = RunOffer()
_Table = tuple[str, int]
"""A table of the model: its key and its number, from 0."""
_ORDER_KEYS = "hold=PLACE until=PLACE [vcpu=N] [until_vcpu=N] [count=N] [since=arrival|mark|start] "
_ORDER_KEYS += "[counting=passes|arrivals] [timeout_ms=N] [per_attempt=N] [skip=N]"


@dataclass(frozen=True)
class RunOrder:
    """The command line's values; files are as the user named them."""

    guest: Guest
    offer: RunOffer = _ANY
    """What the guest's system has for it."""
    kernel: Path | None = None
    source: Mapping[str, str | None] | None = None
    """Keys of a source recipe that name a tree, in place of a kernel."""
    config: Sequence[Path] = ()
    vmlinux: Path | None = None
    modules_folder: Path | None = None
    initrd: Path | None = None
    append: Sequence[str] = ()
    workload: Path | None = None
    command: str | None = None
    arguments: Sequence[str] = ()
    flags: Sequence[str] = ()
    modules: Sequence[str] = ()
    setup: Sequence[str] = ()
    failpoints: Sequence[str] = ()
    orders: Sequence[str] = ()
    marks: Sequence[str] = ()
    crashes: Sequence[str] = ()
    symptoms: Sequence[str] = ()
    must_end: bool = False
    seconds: float = 60.0
    trials: int = 10


def run_target(model: Mapping[str, Any], options: Mapping[_Table, str] | None = None) -> Target:
    """The target of a recorded run; `options` are what its tables were on the command line.

    Raises UsageError.
    """
    try:
        run = RunModel.model_validate(model)
        return Target(TARGET, _ROOT / TARGET, run, called="the command line")
    except ValidationError as error:
        raise UsageError(_explained(error, options or {})) from error


def target_of(order: RunOrder) -> Target:
    """The target that the order describes. Raises UsageError that names the option."""
    _check(order)
    places = _Places()
    system = order.guest.model.system
    failpoints = [_failpoint(n, text, places, system) for n, text in enumerate(order.failpoints, 1)]
    orders = [_order(n, text, places) for n, text in enumerate(order.orders, 1)]
    marks = [places.name_of(text) for text in order.marks]
    name = order.guest.known_as
    return run_target(
        {
            "title": f"harness run on {order.guest.name}",
            "system": system,
            "guests": [name],
            "kernels": {ARM: {name: _kernel(order)}},
            "userland": {"modules": list(order.modules), "setup": list(order.setup)},
            "workload": _workload(order),
            "place": places.tables(),
            "mark": marks,
            "failpoint": failpoints,
            "order": orders,
            "arm": [
                {
                    "name": ARM,
                    "kernel": ARM,
                    "use": [rule["name"] for rule in (*failpoints, *orders)],
                    "expect": "either",
                }
            ],
            "symptom": _symptoms(order),
            "budget": {"trials": order.trials, "trial_seconds": order.seconds},
            **({"initrd": str(order.initrd.resolve())} if order.initrd is not None else {}),
        },
        {
            **{("failpoint", n): f"--failpoint {text}" for n, text in enumerate(order.failpoints)},
            **{("order", n): f"--order {text}" for n, text in enumerate(order.orders)},
            **{("place", n): place["at"] for n, place in enumerate(places.tables())},
        },
    )


def _check(order: RunOrder) -> None:
    _check_against_offer(order)
    for option, path in (
        ("--kernel", order.kernel), ("--vmlinux", order.vmlinux), ("--initrd", order.initrd),
        ("--workload", order.workload),
        *(("--config", path) for path in order.config if not _is_own_fragment(order, path)),
    ):  # fmt: skip
        if path is not None and path.is_dir():
            raise UsageError(f"{option} {path} is a folder: name the file in it")
        if path is not None and not path.is_file():
            raise UsageError(f"{option} {path}: there is no such file")
    if order.source is not None and order.kernel is not None:
        raise UsageError("--source builds a kernel, and --kernel is one: give one of them")
    if order.config and order.source is None:
        raise UsageError("--config says how --source is built: give that, too")
    if order.modules_folder is not None and order.kernel is None:
        raise UsageError("--modules-dir has the modules of a --kernel: give that, too")
    if order.vmlinux is not None and order.kernel is None:
        raise UsageError("--vmlinux is that of a --kernel: give that, too")
    if order.modules and order.kernel is not None and order.modules_folder is None:
        raise UsageError(
            f"--modules {','.join(order.modules)}: --kernel is a file without modules: give its "
            "lib/modules/RELEASE by --modules-dir, or build them in"
        )
    if order.initrd is not None:
        unused = {
            "--workload": order.workload, "--command": order.command, "--arg": order.arguments,
            "--setup": order.setup, "--modules": order.modules, "--must-end": order.must_end,
        }  # fmt: skip
        if given := [option for option, value in unused.items() if value]:
            raise UsageError(
                f"{' and '.join(given)} cannot be used with --initrd, which is booted as it is: "
                "put it there, or leave --initrd out"
            )
    if order.workload is not None and order.workload.suffix != ".c":
        _check_program(order.workload, order)
    if order.arguments and order.workload is None:
        raise UsageError("--arg goes with --workload")
    if order.command is not None and order.workload is not None and _speaks(order):
        raise UsageError(f"--command runs no workload with {order.offer.header}: give --arg to it")


def _is_own_fragment(order: RunOrder, path: Path) -> bool:
    return str(path) in order.offer.fragments and not path.exists()


def _check_against_offer(order: RunOrder) -> None:
    """Refuses what no guest of this system has."""
    offer = order.offer
    given = {
        "--vmlinux": order.vmlinux, "--modules-dir": order.modules_folder,
        "--modules": order.modules, "--initrd": order.initrd, "--setup": order.setup,
        "--command": order.command, "--must-end": order.must_end,
    }  # fmt: skip
    for option, why in offer.without.items():
        if given[option]:
            raise UsageError(
                f"{option}: the guest {order.guest.name} is a {offer.title} guest: {why}"
            )
    if offer.plain:
        return
    if order.workload is None or (order.workload.is_file() and not _speaks(order)):
        raise UsageError(
            f"--workload: the guest {order.guest.name} is a {offer.title} guest, and runs nothing "
            f"but a C file that includes {offer.header}; "
            + (f"{order.workload} does not" if order.workload is not None else "give one")
        )


def _check_program(program: Path, order: RunOrder) -> None:
    guest, offer = order.guest, order.offer
    try:
        with program.open("rb") as file:
            elf = ELFFile(file)
            dynamic = any(segment["p_type"] == "PT_INTERP" for segment in elf.iter_segments())
            is_of_the_system = offer.runs(elf)
            machine = elf["e_machine"]
    except ELFError as error:
        raise UsageError(
            f"--workload {program}: expected a C file (NAME.c) or a static ELF program; scripts go "
            "with --command"
        ) from error
    if dynamic:
        raise UsageError(
            f"--workload {program} is linked dynamically, and the guest has no libraries: link it "
            "with -static"
        )
    if machine != _MACHINES[guest.model.arch]:
        raise UsageError(
            f"--workload {program} is a program for {machine}, and the guest {guest.name} is "
            f"{guest.model.arch}"
        )
    if not is_of_the_system:
        raise UsageError(
            f"--workload {program} is no program for {offer.title}, which the guest {guest.name} "
            "runs: give one that was built for it, or the C file"
        )


def _kernel(order: RunOrder) -> dict[str, Any]:
    append = {"append": list(order.append)}
    if order.kernel is not None:
        own = {"file": str(order.kernel.resolve())}
        if order.modules_folder is not None:
            own["modules"] = str(order.modules_folder.resolve())
        if order.vmlinux is not None:
            own["vmlinux"] = str(order.vmlinux.resolve())
        return own | append
    if order.source is not None:
        named = (
            str(path if _is_own_fragment(order, path) else path.resolve()) for path in order.config
        )
        config = [*order.offer.config, *named]
        tree = {key: value for key, value in order.source.items() if value is not None}
        return {"source": tree | {"config": config}} | append
    if order.guest.model.kernel is None:
        raise UsageError(
            f"the guest {order.guest.name} has no kernel of its own: give --kernel "
            f"({order.offer.title}: {order.offer.kernel}), or --source to build one"
        )
    return order.guest.model.kernel.model_dump() | append


def _speaks(order: RunOrder) -> bool:
    """Whether it is written for the harness: says when it has started, what it found, its end."""
    if order.workload is None or order.workload.suffix != ".c":
        return False
    header = re.escape(order.offer.header.encode())
    included = re.compile(rb'^\s*#\s*include\s*[<"]' + header + rb'[">]', re.MULTILINE)
    return included.search(order.workload.read_bytes()) is not None


def _workload(order: RunOrder) -> dict[str, Any]:
    program = str(order.workload.resolve()) if order.workload is not None else ""
    if _speaks(order):
        words = [word.partition("=") for word in order.arguments]
        if bad := next((key for key, sign, _ in words if not sign), None):
            raise UsageError(f"--arg {bad}: a workload with {order.offer.header} takes KEY=VALUE")
        arguments = {key: value for key, _, value in words}
        return {"program": program, "flags": list(order.flags), "args": arguments}
    command = order.command
    if command is None and order.workload is not None:
        command = " ".join(["exec {workload}", *map(shlex.quote, order.arguments)])
    plain = {"command": command or _IDLE, "must_end": order.must_end}
    return {"program": program, "flags": list(order.flags), "own_way": plain}


def _symptoms(order: RunOrder) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for pattern in order.crashes:
        found.append({"name": f"crash {pattern}", "console": {"title": pattern}})
    for pattern in order.symptoms:
        found.append({"name": f"output {pattern}", "output": pattern})
    if not found:
        found = [{"name": ending, "ending": [ending]} for ending in ("crashed", "hung", "failed")]
    elif order.must_end:
        found.append({"name": "hung", "ending": ["hung"]})
    return found


class _Places:
    """Places by their text, each under a name of its own."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def name_of(self, text: str) -> str:
        return self._names.setdefault(text, f"place-{len(self._names) + 1}")

    def tables(self) -> list[dict[str, Any]]:
        return [{"name": name, "at": text} for text, name in self._names.items()]


def _failpoint(number: int, text: str, places: _Places, system: str) -> dict[str, Any]:
    at, sign, setting = text.partition("=")
    mechanism, blank, name = at.strip().partition(" ")
    if not blank or mechanism not in MECHANISMS:
        mechanism, name = "plugin", at
    name = name.strip()
    if not sign or not name or not setting:
        raise UsageError(
            f"--failpoint {text}: expected PLACE=SETTING, such as "
            "'do_swap_page:after(swap_readpage)=20%delay(5000)', or 'MECHANISM NAME=SETTING', such "
            "as 'sysctl debug.fail_point.NAME=50%sleep(10)'"
        )
    there = [known for known, what in MECHANISMS.items() if system in (what.systems or {system})]
    if mechanism not in there:
        raise UsageError(
            f"--failpoint {text}: a {system} guest has no mechanism {mechanism!r}; it has: "
            + ", ".join(there)
        )
    if mechanism == "plugin" and "fail_point." in name and "sysctl" in there:
        raise UsageError(
            f"--failpoint {text}: that is no place in the code; for the kernel's own fail point "
            f"write 'sysctl {name}={setting}'"
        )
    key = MECHANISMS[mechanism].at
    where = places.name_of(name) if key == "place" else name
    return {"name": f"failpoint-{number}", "mechanism": mechanism, key: where, "do": setting}


def _order(number: int, text: str, places: _Places) -> dict[str, Any]:
    try:
        words = [word.partition("=") for word in shlex.split(text)]
    except ValueError as error:
        raise UsageError(f"--order {text}: {error}") from error
    values = {key: value for key, _, value in words}
    until_keys = {"until_vcpu": "vcpu", "count": "count", "since": "since", "counting": "counting"}
    known = {"hold", "until", "vcpu", "timeout_ms", "per_attempt", "skip", *until_keys}
    if not {"hold", "until"} <= values.keys() <= known or not all(values.values()):
        raise UsageError(f"--order {text}: expected {_ORDER_KEYS}")
    until = {new: values[key] for key, new in until_keys.items() if key in values}
    return {
        "name": f"order-{number}",
        "hold": places.name_of(values["hold"]),
        "until": {"place": places.name_of(values["until"]), **until},
        "timeout_ms": values.get("timeout_ms", "150"),
        **{key: values[key] for key in ("vcpu", "per_attempt", "skip") if key in values},
    }


def _explained(error: ValidationError, options: Mapping[_Table, str]) -> str:
    """The first thing that is wrong, in words without the model's."""
    found_wrong = error.errors(include_url=False)
    # of "a text or a list of texts" the text's error says more
    first = next((item for item in found_wrong if item["type"] != "list_type"), found_wrong[0])
    found = first["input"]
    shown = "" if isinstance(found, dict | list) else f", found {found!r}"
    parts = [part for part in first["loc"] if "[" not in str(part)]
    where = ".".join(map(str, parts)) or "the options"
    match parts:
        case [str(key), int(number), *more] if (key, number) in options:
            where = ": ".join([options[key, number], *map(str, more)])
    return f"{where}: {what_is_wrong(first['msg'], shown)}"
