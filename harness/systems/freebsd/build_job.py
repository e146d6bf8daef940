# SPDX-License-Identifier: BSD-2-Clause
"""One build in a FreeBSD guest, as a process of its own: `python -m … ORDER.json`.

What the guest's make says goes to standard output. A disk with the sources and one for objects stay
in the build folder, so that the next build makes only what has changed. While a guest may write to
them there is a mark beside them: a build that was cut off, in whatever way, begins with new ones.
"""

import asyncio
import json
import os
import shlex
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from harness.errors import GuestError, HarnessError
from harness.files import write_atomically
from harness.plan.guest import GuestModel
from harness.plan.needs import TargetUserlandModel
from harness.qemu.accelerator import choose_accelerator
from harness.qemu.guest import GuestFiles, GuestPlan, RunningGuest, started_guest
from harness.systems.base import ImageOrder
from harness.systems.freebsd.full_image import full_image
from harness.systems.freebsd.makefs import find_makefs
from harness.systems.freebsd.own import own_kernel
from harness.systems.freebsd.shipment import SOURCE, note_shipped, pack, plan_shipment
from harness.systems.freebsd.source_disk import make_source_disk
from harness.systems.machine import machine_of

MADE = ("kernel", "kernel.full")
SAYS = "--> "
"""What a line of this process begins with, and none of make's."""
SCRIPT = Path(__file__).parent / "kernel/build-in-guest.sh"
_DISK_BYTES = 16 << 30
"""Of the disk for objects; what is not written takes no room on the host."""
_WORK = "/harness-work"
_MOUNT = "mount -o async,noatime"


@dataclass(frozen=True)
class BuildOrder:
    """What to build: paths are the host's."""

    guest: str
    """The guest config, as JSON."""
    source: str
    objects: str
    """The folder in `source` for all that is made; `made/` in it gets the kernel."""
    config: str
    ident: str
    cache: str

    def write(self, file: Path) -> None:
        """For the process that carries it out."""
        write_atomically(file, json.dumps(asdict(self)).encode())


async def carry_out(order: BuildOrder) -> int:
    """The exit status of the guest's make. Raises HarnessError."""
    objects, source = Path(order.objects), Path(order.source)
    guest = GuestModel.model_validate_json(order.guest)
    assert guest.image is not None and guest.image.kernel is not None  # guest_builder has looked
    cache = Path(order.cache)
    kernel = own_kernel(Path(guest.image.kernel), guest.arch, cache, needs=())
    image = full_image(ImageOrder(guest, kernel, TargetUserlandModel()), cache, _say)
    work, tree = objects / "work.img", objects / "tree.img"
    mark, record = objects / "work.mark", objects / "work.json"
    fresh = mark.exists() or not (work.exists() and tree.exists())
    mark.touch()
    if fresh:
        for file in (work, tree, record):
            file.unlink(missing_ok=True)
    shipment = plan_shipment(source, objects, record)
    new = shipment
    if fresh:
        _say(f"making a disk of {len(shipment.changed)} files of the tree")
        make_source_disk(shipment, source, tree, find_makefs(cache, _say))
        with work.open("wb") as disk:
            disk.truncate(_DISK_BYTES)
        new = replace(shipment, changed=())
    files = {order.ident: Path(order.config).read_bytes(), "build.sh": SCRIPT.read_bytes()}
    model = guest.machine
    machine = machine_of(model, choose_accelerator(model.accelerator, model.qemu, _say))
    with tempfile.TemporaryDirectory(prefix="build-", dir=objects) as folder:
        archive = Path(folder, "new.tar")
        pack(new, source, files, archive)
        disks = (
            *_disk("work", work, ""),
            *_disk("tree", tree, ""),
            *_disk("new", archive, ",readonly=on"),
        )
        boot = replace(image.boot, arguments=(*image.boot.arguments, *disks))
        plan = GuestPlan(machine, boot, guest.boot.seconds, login=image.login)
        files_of_guest = GuestFiles.within(Path(folder))
        overlay = Path(folder, "overlay.qcow2")
        overlay.touch()
        _say("booting the guest")
        async with started_guest(plan, files_of_guest, overlay=overlay) as running:
            status = await _build(running, order, fresh, model.vcpus)
    note_shipped(shipment, record)
    mark.unlink()
    return status


async def _build(running: RunningGuest, order: BuildOrder, fresh: bool, vcpus: int) -> int:
    channel = running.channel
    newfs = "newfs $disk > /dev/null && " if fresh else ""
    # async: nothing of these disks is kept unless it was unmounted
    await channel.check(
        f"{_find('work', 2)} && {newfs}mkdir -p {_WORK} && {_MOUNT} $disk {_WORK} && "
        f"mkdir -p {_WORK}/{SOURCE} && {_find('tree', 3)} && {_MOUNT} $disk {_WORK}/{SOURCE} && "
        f"{_find('new', 4)} && tar -x -f $disk -C {_WORK}"
    )
    _say("make buildkernel")
    words = ["sh", f"{_WORK}/build.sh", _WORK, order.ident, f"-j{max(2, vcpus)}"]
    command = await channel.start(f"{shlex.join(words)} 2>&1")
    async for chunk in command.output():
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
    status = command.status
    if status == 0:
        _say("fetching the kernel")
        made = Path(order.objects, "made")
        made.mkdir(exist_ok=True)
        for name in MADE:
            write_atomically(made / name, await channel.get(f"{_WORK}/made/{name}"))
    # only then is what it has written on the disks that stay
    await channel.check(f"cd / && umount {_WORK}/{SOURCE} && umount {_WORK}")
    if status is None:
        raise GuestError("the guest does not tell how its make ended")
    return status


def _disk(name: str, file: Path, more: str) -> tuple[str, ...]:
    path = str(file).replace(",", ",,")
    return (
        "-drive", f"id={name},if=none,format=raw{more},file={path}",
        "-device", f"virtio-blk-pci,drive={name},serial=harness-{name}",
    )  # fmt: skip


def _find(name: str, number: int) -> str:
    """A command that sets $disk: by its serial number where the kernel shows it."""
    return f"disk=$(ls /dev/diskid/DISK-harness-{name} /dev/vtbd{number} 2>/dev/null | head -n 1)"


def _say(line: str) -> None:
    print(f"{SAYS}{line}", flush=True)


def main() -> int:
    """Carries out the order in the file named; the exit status is the guest's make's."""
    order = BuildOrder(**json.loads(Path(sys.argv[1]).read_bytes()))
    try:
        return asyncio.run(carry_out(order))
    except HarnessError as error:
        print(f"harness: error: {error}", flush=True)
        return os.EX_UNAVAILABLE


if __name__ == "__main__":
    sys.exit(main())
