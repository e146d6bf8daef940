# SPDX-License-Identifier: BSD-2-Clause
"""The virtual machine that a guest config describes."""

from harness.plan.guest import MachineModel
from harness.qemu.command import Machine


def machine_of(model: MachineModel, accelerator: str) -> Machine:
    """The machine; `accelerator` is QEMU's -accel argument (harness.qemu.accelerator)."""
    return Machine(
        binary=model.qemu,
        machine=model.machine,
        cpu=model.cpu,
        vcpus=model.vcpus,
        memory_mib=model.memory_mib,
        accelerator=accelerator,
        console=tuple(model.console),
        control=tuple(model.control),
        devices=tuple(model.arguments),
    )
