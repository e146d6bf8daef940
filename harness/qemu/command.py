# SPDX-License-Identifier: BSD-2-Clause
"""A QEMU command line as data."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """The virtual hardware that a guest config names; everything QEMU needs beside the boot."""

    binary: str
    machine: str
    cpu: str
    vcpus: int
    memory_mib: int
    accelerator: str
    console: tuple[str, ...]
    """Arguments of the port behind the character device `console`."""
    control: tuple[str, ...]
    """Arguments of the port behind the character device `control`."""
    devices: tuple[str, ...] = ()
    """Further QEMU arguments, as the guest config has them."""
    memory_nodes: int = 1
    """NUMA nodes that share the memory; all vCPUs are on the first."""


@dataclass(frozen=True)
class Disk:
    """A disk image that guests read and none writes to; the device is among `Boot.arguments`."""

    file: Path
    format: str
    """`raw` or `qcow2`."""


@dataclass(frozen=True)
class Boot:
    """What is started: a kernel that QEMU loads by itself, or what `arguments` name."""

    kernel: Path | None
    initrd: Path | str | None = None
    """A file; as a text it is what QEMU's -initrd takes for a multiboot kernel: files with their
    arguments, with commas between them."""
    append: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    """Further QEMU arguments: a disk to boot from."""
    disk: Disk | None = None
    """Behind the drive `root`; what a guest writes goes to an overlay of its own."""

    def argv(self) -> list[str]:
        """QEMU's arguments for it."""
        argv = []
        if self.kernel is not None:
            argv += ["-kernel", str(self.kernel)]
        if self.initrd is not None:
            argv += ["-initrd", str(self.initrd)]
        if self.append:
            argv += ["-append", " ".join(self.append)]
        return [*argv, *self.arguments]


@dataclass(frozen=True)
class Memory:
    """Guest memory in files, one a node: shared while a snapshot is made, private when restored.

    With `private`, QEMU maps the files copy-on-write: a restore costs no copy of the memory and
    leaves them as they are (QEMU, docs/vm-templating.rst).
    """

    files: tuple[Path, ...]
    private: bool


@dataclass(frozen=True)
class Lines:
    """File descriptors, inherited by QEMU, of the sockets behind its serial ports and monitor."""

    console: int
    control: int
    monitor: int


@dataclass(frozen=True)
class QemuCommand:
    """One QEMU process to be."""

    machine: Machine
    boot: Boot
    memory: Memory | None = None
    incoming: bool = False
    """Wait for a snapshot's device state instead of booting."""
    plugin: tuple[str, ...] = field(default=())
    """The arguments that load the failpoint plugin."""
    overlay: Path | None = None
    """A qcow2 file over the boot's disk that keeps what the guest writes; without one QEMU makes
    a temporary file, which goes when it ends."""

    def argv(self, lines: Lines) -> list[str]:
        """The command line, program first."""
        machine = self.machine
        one = self.memory and machine.memory_nodes == 1
        options = machine.machine + (",memory-backend=ram0" if one else "")
        argv = [machine.binary, "-nodefaults", "-no-user-config", "-display", "none"]
        argv += ["-machine", options, "-cpu", machine.cpu, "-smp", str(machine.vcpus)]
        argv += ["-accel", machine.accelerator, "-m", str(machine.memory_mib), "-no-reboot"]
        if self.memory or machine.memory_nodes > 1:
            argv += _memory(machine, self.memory)
        argv += self.boot.argv()
        if self.boot.disk is not None:
            argv += _drive(self.boot.disk, self.overlay)
        argv += ["-chardev", f"socket,id=console,fd={lines.console}", *machine.console]
        argv += ["-chardev", f"socket,id=control,fd={lines.control}", *machine.control]
        argv += ["-chardev", f"socket,id=monitor,fd={lines.monitor}"]
        argv += ["-mon", "chardev=monitor,mode=control"]
        argv += [*machine.devices, *self.plugin]
        if self.incoming:
            argv += ["-incoming", "defer"]
        return argv


def _drive(disk: Disk, overlay: Path | None) -> list[str]:
    disk, temporary = (disk, "on") if overlay is None else (Disk(overlay, "qcow2"), "off")
    file = _escape(str(disk.file))
    return ["-drive", f"id=root,if=none,file={file},format={disk.format},snapshot={temporary}"]


def _memory(machine: Machine, memory: Memory | None) -> list[str]:
    """Where memory is not QEMU's own default: in files, or in nodes."""
    mib = machine.memory_mib // machine.memory_nodes
    argv = []
    for node in range(machine.memory_nodes):
        if memory is None:
            backend = "memory-backend-ram"
            where = ""
        else:
            backend = "memory-backend-file"
            where = f",mem-path={_escape(str(memory.files[node]))}"
            where += f",share={'off' if memory.private else 'on'}"
        argv += ["-object", f"{backend},id=ram{node},size={mib}M{where}"]
        if machine.memory_nodes > 1:
            # a node that names no vCPUs has none, once another one names them all
            cpus = f",cpus=0-{machine.vcpus - 1}" if node == 0 else ""
            argv += ["-numa", f"node,nodeid={node},memdev=ram{node}{cpus}"]
    return argv


def _escape(value: str) -> str:
    """QEMU's option syntax doubles a comma inside a value."""
    return value.replace(",", ",,")
