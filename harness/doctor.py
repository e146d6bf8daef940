# SPDX-License-Identifier: BSD-2-Clause
"""What this host can run, what it lacks, and the command that mends it."""

import os
import shutil
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from harness.errors import HarnessError
from harness.paths import cache_folder, results_folder
from harness.plan.load import guest_names, load_guest, load_target, target_names
from harness.qemu.accelerator import kvm_works
from harness.qemu.process import qemu_version

_PYTHON = (3, 11)
_FREE_BYTES = 2 << 30
"""Packages, kernels and images of one target, with room to spare."""
_OPTIONAL = "?"
"""Begins a line of scripts/host-packages that only some guests need."""


@dataclass(frozen=True)
class Finding:
    """One thing looked at; `mend` is a command, empty where there is nothing to mend."""

    what: str
    found: str
    ok: bool
    mend: str = ""
    optional: bool = False


def examine_host(project: Path) -> list[Finding]:
    """Everything that the doctor looks at, in order."""
    return [
        _python(),
        *_packages(project),
        *_folders(),
        _kvm(),
        *_definitions(project),
    ]


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Finding("Python", version, sys.version_info[:2] >= _PYTHON, "apt-get install python3")


def _packages(project: Path) -> list[Finding]:
    findings = []
    for line in (project / "scripts" / "host-packages").read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        thing, package, purpose = line.removeprefix(_OPTIONAL).split(None, 2)
        optional = line.startswith(_OPTIONAL)
        found = _find(thing)
        if found and thing.startswith("qemu-system-"):
            found = qemu_version(thing)
        mend = f"apt-get install {package}" + (", or make setup-all" if optional else "")
        findings.append(
            Finding(thing, found or f"not there ({purpose})", bool(found), mend, optional)
        )
    return findings


def _find(thing: str) -> str | None:
    kind, _, name = thing.rpartition(":")
    if kind == "file":
        return name if Path(name).exists() else None
    if kind == "python":
        return name if find_spec(name) else None
    return shutil.which(name)


def _folders() -> list[Finding]:
    findings = []
    for what, folder in (("cache", cache_folder()), ("results", results_folder())):
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        writable = os.access(existing, os.W_OK)
        free = shutil.disk_usage(existing).free
        findings.append(
            Finding(
                f"{what} folder",
                f"{folder}, {free >> 20} MiB free" + ("" if writable else ", not writable"),
                writable and free >= _FREE_BYTES,
                f"free {_FREE_BYTES >> 20} MiB there, or set HARNESS_{what.upper()} elsewhere",
            )
        )
    return findings


def _kvm() -> Finding:
    works, why = kvm_works("qemu-system-x86_64")
    return Finding(
        "KVM", "a probe guest ran" if works else f"{why}; TCG is used", works, optional=True
    )


def _definitions(project: Path) -> list[Finding]:
    findings = []
    for kind, names, load in (
        ("guest", guest_names(project), load_guest),
        ("target", target_names(project), load_target),
    ):
        for name in names:
            try:
                load(project, name)
            except HarnessError as error:
                findings.append(Finding(f"{kind} {name}", str(error), False))
            else:
                findings.append(Finding(f"{kind} {name}", "valid", True))
    return findings
