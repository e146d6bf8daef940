# SPDX-License-Identifier: BSD-2-Clause
"""QEMU's gdb server: a client of its own, opened on a running guest when it is wanted."""

from harness.qemu.gdb.architecture import ARCHITECTURES, Architecture, architecture
from harness.qemu.gdb.client import GdbClient, Stop
from harness.qemu.gdb.packets import GdbProtocolError
from harness.qemu.gdb.registers import Registers
from harness.qemu.gdb.returns import force_return, force_returns
from harness.qemu.gdb.session import attached, run_state

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "GdbClient",
    "GdbProtocolError",
    "Registers",
    "Stop",
    "architecture",
    "attached",
    "force_return",
    "force_returns",
    "run_state",
]
