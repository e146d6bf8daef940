# SPDX-License-Identifier: BSD-2-Clause
"""The FreeBSD full-image guest: the project's VM image, our kernel beside it, driven over SSH.

Three layers: the image, which nobody writes; an overlay with what its first boot left, kept in the
cache; and each guest's own, which goes with it. What differs between campaigns comes on a second
disk, a tar archive in memory: the key that is let in, and the workload.
"""

import base64
import functools
import hashlib
import io
import json
import os
import socket
import subprocess
import tarfile
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import paramiko
from pexpect.fdpexpect import fdspawn

from harness.console.ssh import Login
from harness.errors import ConfigurationError, GuestError
from harness.files import write_atomically
from harness.kernels.kernel import Kernel
from harness.kernels.source.interrupt import interruptible
from harness.kernels.source.lock import locked
from harness.plan.guest import GuestModel
from harness.progress import Say
from harness.qemu.accelerator import choose_accelerator
from harness.qemu.command import Boot, Disk, Lines, QemuCommand
from harness.qemu.process import die_with_parent, require_qemu
from harness.qemu.snapshot import make_overlay
from harness.systems.base import GuestImage, ImageOrder
from harness.systems.campaign import campaign_keys, memory_file
from harness.systems.freebsd.architecture import architecture
from harness.systems.freebsd.boot import kernel_boot
from harness.systems.freebsd.first_boot import Console, FirstBoot, first_boot
from harness.systems.freebsd.vm_image import VmImage, vm_image
from harness.systems.machine import machine_of

_FILES = Path(__file__).with_name("image")
_READY = b"harness: the SSH server listens"
"""What image/etc/harness_ready prints on the console."""
_WORKLOAD = "/workload"
_NETWORK = (
    "-netdev",
    # one port of the host's loopback, chosen by the host's kernel, and no way out for the guest
    "user,id=ssh,restrict=on,hostfwd=tcp:127.0.0.1:0-10.0.2.15:22",
)
_RECORD = "first-boot.json"
_OVERLAY = "disk.qcow2"
_END_SECONDS = 60.0
_PRIVATE, _PRIVATE_FOLDER = 0o600, 0o700


@dataclass(frozen=True)
class PreparedImage:
    """An image behind its first boot: the disk to boot from, and what is known of it."""

    disk: Disk
    root: str
    facts: FirstBoot
    identity: str


def find_image(guest: GuestModel, cache: Path, say: Say) -> VmImage:
    """The VM image of a guest config, on this machine. Raises HarnessError."""
    assert guest.image is not None  # who asks has looked
    return vm_image(guest.image, guest.arch, cache, say)


def prepared_image(guest: GuestModel, kernel: Kernel, cache: Path, say: Say) -> PreparedImage:
    """The image behind its first boot, from the cache or booted once, on this kernel.

    Raises ConfigurationError, GuestError, InfrastructureError.
    """
    image = find_image(guest, cache, say)
    ingredients = [image.identity, guest.arch, _own_files()]
    identity = hashlib.sha256(json.dumps(ingredients).encode()).hexdigest()[:16]
    folder = cache / "images" / "freebsd" / f"booted-{identity}"
    lock = folder.with_name(f"{folder.name}.lock")
    with interruptible(), locked(lock, f"the first boot of {image.label}", say):
        if not (folder / _RECORD).is_file():
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(_PRIVATE_FOLDER)  # the guests' private host key is in the overlay
            facts = _boot_once(image, guest, kernel, folder, say)
            write_atomically(folder / _RECORD, json.dumps(asdict(facts)).encode(), _PRIVATE)
        facts = FirstBoot(**json.loads((folder / _RECORD).read_text()))
    return PreparedImage(Disk(folder / _OVERLAY, "qcow2"), image.root, facts, identity)


def full_image(order: ImageOrder, cache: Path, say: Say) -> GuestImage:
    """Disks and boot of a guest whose config has [image]; its login is in the result.

    Raises HarnessError.
    """
    prepared = prepared_image(order.guest, order.kernel, cache, say)
    user, _ = campaign_keys()
    boot = _boot(order.guest, order.kernel, prepared.root, order.append, cache)
    campaign = _campaign_disk(user.public, order.workload)
    return GuestImage(
        boot=Boot(
            boot.kernel,
            boot.initrd,
            boot.append,
            (*_devices(order.guest.arch, campaign), *boot.arguments),
            prepared.disk,
        ),
        setup=tuple(order.userland.setup),
        workload=_WORKLOAD,
        login=Login("root", user.key, _public_key(prepared.facts.host_key), _READY),
        shell="exec sh -i",
    )


def _boot(
    guest: GuestModel, kernel: Kernel, root: str, append: tuple[str, ...], cache: Path
) -> Boot:
    words = (*guest.boot.append, f"vfs.root.mountfrom={root}", *append)
    return kernel_boot(kernel, guest.arch, None, words, cache)


def _devices(arch: str, campaign: Path) -> tuple[str, ...]:
    """The disks, vtbd0 with the root and vtbd1 with what a campaign brings, and the network."""
    known = architecture(arch)
    root = ("-device", f"{known.disk_device},drive=root")
    other = ("-device", f"{known.disk_device},drive=campaign,serial=harness")
    disks = (*other, *root) if known.counts_disks_down else (*root, *other)
    return (
        "-drive", f"id=campaign,if=none,format=raw,readonly=on,file={campaign}",
        *disks,
        *_NETWORK,
        "-device", f"{known.network_device},netdev=ssh",
        "-device", known.random_device,
    )  # fmt: skip


@functools.cache
def _campaign_disk(key: bytes, workload: Path | None) -> Path:
    """What a campaign brings, in memory until the process ends."""
    files = {"authorized_keys": (key, 0o600)}
    if workload is not None:
        files["workload"] = (workload.read_bytes(), 0o755)
    return memory_file("campaign", _archive(files))


def _archive(files: dict[str, tuple[bytes, int]]) -> bytes:
    """A tar archive, whole sectors long (tarfile pads to 10 KiB), of root's files."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, (content, mode) in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.uname, member.gname = len(content), mode, "", ""
            archive.addfile(member, io.BytesIO(content))
    return data.getvalue()


def _companions() -> dict[str, tuple[bytes, int]]:
    """What the first boot installs, by its path below /var/harness."""
    found = sorted(path for path in _FILES.rglob("*") if path.is_file())
    return {
        str(path.relative_to(_FILES)): (path.read_bytes(), 0o644 if path.suffix else 0o755)
        for path in found
    }


@functools.cache
def _own_files() -> str:
    digest = hashlib.sha256()
    for name, (content, _) in _companions().items():
        digest.update(name.encode() + b"\0" + content)
    return digest.hexdigest()


def _boot_once(
    image: VmImage, guest: GuestModel, kernel: Kernel, folder: Path, say: Say
) -> FirstBoot:
    """Makes the overlay of a machine's first boot, under its own name only once that is over."""
    model = guest.machine
    require_qemu(model.qemu)
    unfinished = folder / f".{_OVERLAY}"
    unfinished.unlink(missing_ok=True)
    unfinished.touch(_PRIVATE)
    make_overlay(image.disk, unfinished)
    machine = machine_of(model, choose_accelerator(model.accelerator, model.qemu, say))
    boot = _boot(guest, kernel, image.root, (), folder.parents[2])
    disk = memory_file("first-boot", _archive(_companions()))
    boot = Boot(
        boot.kernel, boot.initrd, boot.append,
        (*_devices(guest.arch, disk), *boot.arguments), image.disk,
    )  # fmt: skip
    command = QemuCommand(machine, boot, overlay=unfinished)
    say(f"first boot of {image.label}, once (minutes; the limit is {guest.boot.seconds:g} s)")
    try:
        facts = _converse(command, guest.boot.seconds, say)
        unfinished.rename(folder / _OVERLAY)
    except ConfigurationError as error:
        raise ConfigurationError(f"[image] {image.label}: {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    say(f"the image is FreeBSD {facts.release}, with {facts.free_kib >> 10} MiB free")
    return facts


def _converse(command: QemuCommand, seconds: float, say: Say) -> FirstBoot:
    with ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(3)]
        for pair in pairs:
            stack.callback(pair[0].close)
            stack.callback(pair[1].close)
        ends = [pair[1].fileno() for pair in pairs]
        parent = os.getpid()
        messages = stack.enter_context(tempfile.TemporaryFile())
        process = subprocess.Popen(
            command.argv(Lines(*ends)), stdin=subprocess.DEVNULL, stdout=messages,
            stderr=messages, pass_fds=ends, start_new_session=True,
            preexec_fn=lambda: die_with_parent(parent),
        )  # fmt: skip
        stack.callback(_end, process)
        for pair in pairs:
            pair[1].close()  # QEMU's alone, so that its end is the console's
        console: Console = fdspawn(pairs[0][0].fileno())
        try:
            facts = first_boot(console, seconds, say)
            process.wait(_END_SECONDS)
        except (GuestError, subprocess.TimeoutExpired) as error:
            messages.seek(0)
            said = messages.read().decode(errors="replace").strip()
            raise GuestError(f"{error}" + (f"\n  QEMU said: {said}" if said else "")) from error
    return facts


def _end(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        process.kill()
    process.wait()


def _public_key(line: str) -> paramiko.PKey:
    kind, _, blob = line.partition(" ")
    try:
        return paramiko.PKey.from_type_string(kind, base64.b64decode(blob, validate=True))
    except (paramiko.SSHException, ValueError) as error:
        raise ConfigurationError(f"the image's host key is not usable: {line}") from error
