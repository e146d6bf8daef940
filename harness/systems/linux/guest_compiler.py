# SPDX-License-Identifier: BSD-2-Clause
"""Workloads compiled in a guest of their architecture, by the distribution's own compiler."""

import hashlib
import io
import tarfile
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import ConfigurationError, InfrastructureError
from harness.kernels.toolchain import WORKLOAD_BASE, program_file, static_flags
from harness.plan.guest import CompilerModel
from harness.progress import Say
from harness.qemu.command import Boot, Machine
from harness.qemu.guest import GuestFiles, GuestPlan, RunningGuest, started_guest
from harness.systems.base import GuestImage, WorkloadOrder
from harness.systems.guest_compile import ON_THE_HOST, keep_program, run_compiler
from harness.systems.linux.toolchain_disk import ToolchainDisk

MODULES = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4")
"""What the kernel of a guest that compiles needs for its disks."""

_SOURCES = "/tmp/src"
_PROGRAM = "program"
_RESULT_BYTES = 64 << 20
_SECTOR = 512


@dataclass(frozen=True)
class CompileBoot:
    """The guest that compiles: an image with MODULES loaded by its set-up, on a machine."""

    machine: Machine
    image: GuestImage
    seconds: float


def kept_program(order: WorkloadOrder, disk: ToolchainDisk, cache: Path) -> Path:
    """Where the program is, once it was compiled from this source by this toolchain."""
    ingredients = ["in the guest", disk.identity, order.guest.arch, *_flags(order)]
    return program_file(order.source, order.source.parent, cache, ingredients)


async def compile_in_guest(
    order: WorkloadOrder, disk: ToolchainDisk, boot: CompileBoot, cache: Path, say: Say
) -> Path:
    """Boots the guest with the toolchain disk, compiles, and keeps the program; its path.

    Source and program travel on disks of their own. Raises ConfigurationError with the compiler's
    own message where the source is wrong, GuestError, InfrastructureError where the guest ran out
    of memory or room.
    """
    compiler = order.guest.compiler
    assert compiler is not None  # who asks has looked
    program = kept_program(order, disk, cache)
    with tempfile.TemporaryDirectory(prefix="harness-compile-") as name:
        folder = Path(name)
        sources, result = folder / "sources.tar", folder / "result.img"
        sources.write_bytes(_archive(order.source))
        with result.open("wb") as file:
            file.truncate(_RESULT_BYTES)
        plan = GuestPlan(
            replace(boot.machine, memory_mib=max(boot.machine.memory_mib, compiler.memory_mib)),
            with_disks(boot.image.boot, (disk.image, True), (sources, True), (result, False)),
            boot.seconds,
        )
        say(f"compiling {order.source.name} in a guest on {order.guest.arch}")
        async with started_guest(plan, GuestFiles.within(folder)) as guest:
            await guest.set_up(boot.image.setup)
            size, digest = await _compile(guest, order, compiler)
        with result.open("rb") as file:
            content = file.read(size)
    if hashlib.sha256(content).hexdigest() != digest:
        raise InfrastructureError(
            f"{order.source.name} was compiled in the guest, but {size} bytes of program did not "
            f"come through its disk whole; {ON_THE_HOST}"
        )
    return keep_program(program, content)


def with_disks(boot: Boot, *disks: tuple[Path, bool]) -> Boot:
    """The boot with virtio disks, vda first: raw image files, and whether they are read-only."""
    arguments: list[str] = []
    for number, (file, read_only) in enumerate(disks):
        # QEMU's option syntax doubles a comma inside a value
        path = str(file).replace(",", ",,")
        mode = ",readonly=on" if read_only else ""
        arguments += ["-drive", f"if=none,id=disk{number},format=raw,file={path}{mode}"]
        arguments += ["-device", f"virtio-blk-pci,drive=disk{number}"]
    return replace(boot, arguments=(*boot.arguments, *arguments))


async def _compile(
    guest: RunningGuest, order: WorkloadOrder, compiler: CompilerModel
) -> tuple[int, str]:
    """Size and SHA-256 of the program that is then on the third disk."""
    await guest.set_up(
        [
            "mkdir /toolchain && mount -t ext4 -o ro /dev/vda /toolchain",
            "mount -t tmpfs tmpfs /toolchain/tmp && mkdir /toolchain" + _SOURCES,
            "mount -t proc proc /toolchain/proc && mount -o bind /dev /toolchain/dev",
            f"tar -x -f /dev/vdb -C /toolchain{_SOURCES}",
        ]
    )
    words = ["busybox", "chroot", "/toolchain", f"/usr/bin/{compiler.program}", "-pipe"]
    words += [
        "-o",
        f"/tmp/{_PROGRAM}",
        f"{_SOURCES}/{order.source.name}",
        *_flags(order),
        "-I",
        _SOURCES,
    ]
    more_room = f"raise memory_mib of [userland.compiler] (now {compiler.memory_mib})"
    await run_compiler(guest.channel, order, words, _SOURCES, more_room)
    answer = await guest.channel.check(
        f"cd /toolchain/tmp && wc -c < {_PROGRAM} && sha256sum < {_PROGRAM}"
    )
    size, digest, *_ = answer.decode(errors="replace").split()
    if int(size) > _RESULT_BYTES:
        raise ConfigurationError(
            f"{order.source}: the program has {int(size) >> 20} MiB, and the disk that brings it "
            f"out of the guest {_RESULT_BYTES >> 20}; {ON_THE_HOST}"
        )
    await guest.channel.check(f"dd if=/toolchain/tmp/{_PROGRAM} of=/dev/vdc bs=64k conv=fsync 2>&1")
    return int(size), digest


def _flags(order: WorkloadOrder) -> list[str]:
    return static_flags(WORKLOAD_BASE, order.flags)


def _archive(source: Path) -> bytes:
    """The file and the headers beside it as a tar archive of whole sectors."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path in (source, *sorted(source.parent.glob("*.h"))):
            archive.add(path, arcname=path.name, filter=_anonymous)
    return data.getvalue() + b"\0" * (-len(data.getvalue()) % _SECTOR)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member
