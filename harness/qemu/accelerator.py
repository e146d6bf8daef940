# SPDX-License-Identifier: BSD-2-Clause
"""Which accelerator a guest runs on: TCG, or KVM once a probe guest has really run under it."""

import os
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path

from harness.errors import ConfigurationError
from harness.progress import Say
from harness.qemu.process import die_with_parent

TCG = "tcg,thread=multi"
"""One host thread per vCPU: with a single one, holding a vCPU would hold them all."""
KVM = "kvm"
_DEADLINE_SECONDS = 10.0
_SHORTEST_SECONDS = 1.0
_SLOWER = 2.0
"""How many times TCG's time for the probe KVM may take; where it works, it takes less."""
_PORT = 0xF4
_CODE = 0x2A

# mov al, CODE; out PORT, al; hlt; jmp back to hlt: a boot sector that says it has run
_BOOT_SECTOR = bytes([0xB0, _CODE, 0xE6, _PORT, 0xF4, 0xEB, 0xFD]).ljust(510, b"\0") + b"\x55\xaa"
_EXIT_STATUS = _CODE << 1 | 1  # hw/misc/debugexit.c


def choose_accelerator(wanted: str, binary: str, say: Say) -> str:
    """QEMU's -accel argument for "auto", "tcg" or "kvm".

    Raises ConfigurationError where KVM was asked for and does not run guests.
    """
    if wanted == "tcg":
        return TCG
    works, why = kvm_works(binary)
    if works:
        return KVM
    if wanted == "kvm":
        raise ConfigurationError(f"the guest config asks for KVM, but {why}; set it to auto or tcg")
    say(f"using TCG: {why}")
    return TCG


@cache
def kvm_works(binary: str) -> tuple[bool, str]:
    """Whether a guest runs under KVM here as it should, and why not.

    /dev/kvm may open on a host where no guest instruction is ever executed; it may also run a boot
    sector thirty times slower than TCG does and never finish a kernel's boot (seen under nested
    virtualisation without hardware support). So one boot sector is run to its end under both.
    """
    if Path(binary).name != "qemu-system-x86_64":
        return False, f"the KVM probe is for x86-64 guests, not {binary}"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False, "/dev/kvm cannot be opened"
    with tempfile.NamedTemporaryFile(prefix="harness-kvm-probe-") as sector:
        sector.write(_BOOT_SECTOR)
        sector.flush()
        began = time.monotonic()
        found = _run_probe(binary, "tcg", sector.name, _DEADLINE_SECONDS)
        if found is not None:
            return False, f"the probe does not even run under TCG: {found}"
        allowed = max(_SHORTEST_SECONDS, _SLOWER * (time.monotonic() - began))
        found = _run_probe(binary, "kvm", sector.name, allowed)
    return found is None, "" if found is None else f"KVM does not serve: {found}"


def _run_probe(binary: str, accelerator: str, sector: str, seconds: float) -> str | None:
    """Runs the boot sector; None where it came to its end in time, else what happened."""
    argv = [
        binary, "-nodefaults", "-no-user-config", "-display", "none", "-accel", accelerator,
        "-drive", f"file={sector},format=raw,if=ide,readonly=off",
        "-device", f"isa-debug-exit,iobase={_PORT:#x},iosize=0x01",
    ]  # fmt: skip
    parent = os.getpid()
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            timeout=seconds,
            check=False,
            preexec_fn=lambda: die_with_parent(parent),
        )
    except subprocess.TimeoutExpired:
        return f"a probe guest did not come to its end within {seconds:.1f} s"
    except OSError as error:
        return f"{binary} does not run: {error}"
    if done.returncode == _EXIT_STATUS:
        return None
    return f"a probe guest ended QEMU with status {done.returncode}"
