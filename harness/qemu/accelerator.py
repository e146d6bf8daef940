# SPDX-License-Identifier: BSD-2-Clause
"""Which accelerator a guest runs on: TCG, or KVM once a probe guest has really run under it."""

import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from harness.errors import ConfigurationError
from harness.progress import Say
from harness.qemu.process import die_with_parent

TCG = "tcg,thread=multi"
"""One host thread per vCPU: with a single one, holding a vCPU would hold them all."""
KVM = "kvm"
_DEADLINE_SECONDS = 10.0
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
    """Whether a guest really runs under KVM here, and why not.

    /dev/kvm may open on a host where no guest instruction is ever executed, so one boot sector is
    run to its end.
    """
    if Path(binary).name != "qemu-system-x86_64":
        return False, f"the KVM probe is for x86-64 guests, not {binary}"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False, "/dev/kvm cannot be opened"
    with tempfile.NamedTemporaryFile(prefix="harness-kvm-probe-") as sector:
        sector.write(_BOOT_SECTOR)
        sector.flush()
        argv = [
            binary, "-nodefaults", "-no-user-config", "-display", "none", "-accel", "kvm",
            "-drive", f"file={sector.name},format=raw,if=ide,readonly=off",
            "-device", f"isa-debug-exit,iobase={_PORT:#x},iosize=0x01",
        ]  # fmt: skip
        try:
            parent = os.getpid()
            done = subprocess.run(
                argv,
                capture_output=True,
                timeout=_DEADLINE_SECONDS,
                check=False,
                preexec_fn=lambda: die_with_parent(parent),
            )
        except subprocess.TimeoutExpired:
            return False, f"a probe guest did not run under KVM within {_DEADLINE_SECONDS:g} s"
        except OSError as error:
            return False, f"{binary} does not run: {error}"
    if done.returncode == _EXIT_STATUS:
        return True, ""
    return False, f"the KVM probe ended with status {done.returncode}"
