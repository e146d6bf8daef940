# SPDX-License-Identifier: BSD-2-Clause
"""FreeBSD's VM image: fetched, checked, unpacked, and looked into without being booted.

What a user gave as a file is used where it is, and never written.
"""

import hashlib
import http.client
import json
import lzma
import os
import re
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from harness.disk_tools import find_tool, missing_disk_tools
from harness.errors import ConfigurationError, InfrastructureError
from harness.files import disk_errors_named, file_hash, write_atomically
from harness.kernels.source.download import download
from harness.kernels.source.lock import locked
from harness.plan.guest import ImageModel
from harness.progress import Say
from harness.qemu.command import Disk
from harness.systems.freebsd.architecture import ARCHITECTURES
from harness.systems.freebsd.gpt import (
    EFI_SYSTEM,
    FREEBSD_BOOT,
    FREEBSD_UFS,
    FREEBSD_ZFS,
    TABLE_BYTES,
    Partition,
    read_gpt,
)

CHECKSUMS = "CHECKSUM.SHA256"
"""What the project puts beside its images, also as CHECKSUM.SHA256-FreeBSD-13.2-RELEASE-amd64: of
each a line `SHA256 (NAME) = HEX`."""
_QCOW2, _XZ = b"QFI\xfb", b"\xfd7zXZ\0"
_UFS_MAGICS = {(0x19540119).to_bytes(4, "little"), (0x00011954).to_bytes(4, "little")}
_UFS_MAGIC_ENDS = (65536 + 1376, 8192 + 1376)
"""The end of struct fs, which its magic number is, at both formats' places (sys/ufs/ffs/fs.h)."""
_OTHERS = {
    "a VMDK disk": (0, b"KDMV"),
    "a VHD disk": (0, b"conectix"),
    "an ISO 9660 image": (32769, b"CD001"),
    "compressed by gzip": (0, b"\x1f\x8b"),
    "compressed by bzip2": (0, b"BZh"),
    "compressed by zstd": (0, b"\x28\xb5\x2f\xfd"),
}
"""What people have that is no disk which can be used: where its magic bytes are, and which."""
_HEAD_BYTES = 1 << 16
_BLOCK = 1 << 20
_SAY_SECONDS = 5.0
_CHECKSUM_SECONDS = 60.0


@dataclass(frozen=True)
class VmImage:
    """An image that can be booted beside a kernel; `root` is what vfs.root.mountfrom is to be."""

    disk: Disk
    root: str
    identity: str
    """Another one for another content, as far as that can be told without reading it all."""
    label: str


def vm_image(model: ImageModel, arch: str, cache: Path, say: Say) -> VmImage:
    """The image that a guest config names, on this machine and fit for `arch`.

    Raises ConfigurationError for an image that cannot be used (another architecture's, no GPT, no
    UFS), InfrastructureError for one that cannot be had or is another than its checksum says.
    """
    if missing := missing_disk_tools():
        raise InfrastructureError(missing)
    folder = cache / "images" / "freebsd"
    folder.mkdir(parents=True, exist_ok=True)
    if model.url is not None:
        given = _downloaded(model.url, model.sha256, folder, say)
    else:
        assert model.file is not None  # the model sees to it
        given = _given(Path(model.file).expanduser(), model.sha256, folder, say)
    file = _unpacked(given, folder, say)
    disk = Disk(file, _format(file, given))
    _require_nothing_behind(disk, given)
    partitions = read_gpt(read_disk(disk, 0, TABLE_BYTES), str(given))
    _require_architecture(disk, partitions, arch, given)
    return VmImage(disk, _root(disk, partitions, given), _stamp(given), given.name)


def _stamp(file: Path) -> str:
    """A hash of what tells one file from another without reading it: its place, size and time."""
    found = file.stat()
    facts = [str(file.resolve()), found.st_size, found.st_mtime_ns, found.st_ino]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _downloaded(url: str, sha256: str | None, folder: Path, say: Say) -> Path:
    where = f"[image] url = {url}"
    published = folder / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}-{CHECKSUMS}"
    if sha256 is not None:
        return _checked_download(url, sha256, folder, where, say)
    if not published.exists():
        write_atomically(published, _published_checksum(url, where, say).encode())
    where += f", with the checksum published beside it ({CHECKSUMS}*)"
    try:
        return _checked_download(url, published.read_text(), folder, where, say)
    except InfrastructureError:
        published.unlink(missing_ok=True)  # it may be what is wrong, and is asked for again
        raise


def _checked_download(url: str, sha256: str, folder: Path, where: str, say: Say) -> Path:
    """Whole and checked once, it is not read again: it has the size of a disk."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", url.partition("?")[0].rpartition("/")[2]) or "file"
    kept = folder / f"{sha256[:16]}-{name}"
    if _was_checked(kept, sha256, folder):
        return kept
    file = download(url, sha256, folder, where, say)
    _note_checked(file, sha256, folder)
    return file


def _published_checksum(url: str, where: str, say: Say) -> str:
    """What is said beside the image: by all images' file, or the release's own (CHECKSUMS)."""
    beside, _, name = url.partition("?")[0].rpartition("/")
    release = re.sub(r"(\.(raw|qcow2|vhd|vhdf|vmdk))?(\.xz)?$", "", name)
    tried = []
    for file in (CHECKSUMS, f"{CHECKSUMS}-{release}"):
        say(f"reading {beside}/{file}")
        try:
            with urllib.request.urlopen(f"{beside}/{file}", timeout=_CHECKSUM_SECONDS) as got:
                text = got.read(_BLOCK)
        except (OSError, http.client.HTTPException, ValueError) as error:
            answered = isinstance(error, urllib.error.HTTPError)
            reason = error if answered else getattr(error, "reason", None) or error
            tried.append(f"{file} cannot be read: {reason}")
            if not answered:
                break  # a server that is not there has no other file, either
        else:
            if (found := _checksum_in(text.decode(errors="replace"), name)) is not None:
                return found
            tried.append(f"{file} does not name {name}")
    raise InfrastructureError(
        f"{where}: it has no `sha256`, and none is published beside it ({'; '.join(tried)}): give "
        "the checksum (--image-sha256), or a file that is here already"
    )


def _checksum_in(text: str, name: str) -> str | None:
    """Of a line of sha256(1)'s, as in `SHA256 (NAME) = HEX`."""
    line = rf"^SHA256 \({re.escape(name)}\) = ([0-9A-Fa-f]{{64}})\s*$"
    found = re.search(line, text, re.MULTILINE)
    return found[1].lower() if found else None


def _given(file: Path, sha256: str | None, folder: Path, say: Say) -> Path:
    if not file.is_file():
        raise ConfigurationError(f"[image] file: there is no file {file}")
    if sha256 is None or _was_checked(file, sha256, folder):
        return file
    say(f"checking {file.name} ({file.stat().st_size / 1e6:.0f} MB)")
    found = file_hash(file)
    if found != sha256:
        raise InfrastructureError(
            f"[image] {file} is another file than is meant: its SHA-256 should be {sha256} and is "
            f"{found}"
        )
    _note_checked(file, sha256, folder)
    return file


def _checked_mark(file: Path, sha256: str, folder: Path) -> Path:
    return folder / f"{sha256[:16]}-{_stamp(file)}.checked"


def _was_checked(file: Path, sha256: str, folder: Path) -> bool:
    return file.is_file() and _checked_mark(file, sha256, folder).is_file()


def _note_checked(file: Path, sha256: str, folder: Path) -> None:
    write_atomically(_checked_mark(file, sha256, folder), sha256.encode())


def _unpacked(given: Path, folder: Path, say: Say) -> Path:
    """The image itself: `given`, or what is in it, in the cache."""
    with given.open("rb") as file:
        if not file.read(len(_XZ)).startswith(_XZ):
            return given
    into = folder / f"{_stamp(given)}-{given.name.removesuffix('.xz')}"
    with locked(into.with_name(f"{into.name}.lock"), f"the image {given.name}", say):
        if into.is_file():
            return into
        unfinished = into.with_name(f".{into.name}")
        say(f"unpacking {given.name}")
        try:
            with disk_errors_named(into), unfinished.open("wb") as out:
                _unpack(given, out, say)
                out.flush()
                os.fsync(out.fileno())
            unfinished.rename(into)
        except (lzma.LZMAError, EOFError) as error:
            raise ConfigurationError(f"[image] {given} is damaged: {error}") from error
        finally:
            unfinished.unlink(missing_ok=True)
    return into


def _unpack(given: Path, out: BinaryIO, say: Say) -> None:
    """What is all zeros takes no room."""
    said = time.monotonic()
    with lzma.open(given) as packed:
        while block := packed.read(_BLOCK):
            if block.count(0) == len(block):
                out.seek(len(block), os.SEEK_CUR)
            else:
                out.write(block)
            if time.monotonic() - said >= _SAY_SECONDS:
                said = time.monotonic()
                say(f"unpacking {given.name}: {out.tell() / 1e6:.0f} MB")
    out.truncate(out.tell())


def _format(file: Path, given: Path) -> str:
    with file.open("rb") as opened:
        head = opened.read(_HEAD_BYTES)
    for what, (at, magic) in _OTHERS.items():
        if head[at : at + len(magic)] == magic:
            raise ConfigurationError(
                f"[image] {given} is {what}: expected a disk, raw or qcow2, in .xz or not"
            )
    return "qcow2" if head.startswith(_QCOW2) else "raw"


def _require_nothing_behind(disk: Disk, given: Path) -> None:
    """A qcow2 file may name another file, which a guest would then read."""
    if disk.format != "qcow2":
        return
    facts = json.loads(_qemu_img(["info", "-f", "qcow2", "--output=json", str(disk.file)], given))
    if "backing-filename" in facts:
        raise ConfigurationError(
            f"[image] {given} is an overlay over {facts['backing-filename']}: expected an image "
            "that is whole, as `qemu-img convert -O qcow2` makes it"
        )


def read_disk(disk: Disk, offset: int, size: int) -> bytes:
    """`size` bytes of the disk's content from `offset` on (a whole number of sectors), fewer at
    its end. Raises InfrastructureError."""
    if disk.format == "raw":
        with disk.file.open("rb") as file:
            file.seek(offset)
            return file.read(size)
    source = {
        "driver": "raw",
        "offset": offset,
        "size": size,
        "file": {"driver": "qcow2", "file": {"driver": "file", "filename": str(disk.file)}},
    }
    with tempfile.NamedTemporaryFile(prefix="harness-part-") as part:
        argv = ["convert", "-O", "raw", f"json:{json.dumps(source)}", part.name]
        _qemu_img(argv, disk.file)
        return Path(part.name).read_bytes()


def _qemu_img(arguments: list[str], image: Path) -> str:
    tool = find_tool("qemu-img") or "qemu-img"
    try:
        done = subprocess.run(
            [tool, *arguments], capture_output=True, text=True, errors="replace", check=True,
            env=os.environ | {"LC_ALL": "C"},
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or error
        raise InfrastructureError(f"qemu-img cannot read the image {image}: {said}") from error
    return done.stdout


def _require_architecture(disk: Disk, partitions: list[Partition], arch: str, given: Path) -> None:
    """Tells an image of another architecture by its boot loaders; without any, by nothing."""
    fats = [_content(disk, p) for p in partitions if p.kind == EFI_SYSTEM]
    has_bios_loader = any(partition.kind == FREEBSD_BOOT for partition in partitions)
    found = {
        name
        for name, known in ARCHITECTURES.items()
        if any(known.efi_loader in fat for fat in fats)
        or (has_bios_loader and known.has_bios_loader)
    }
    if found and arch not in found:
        raise ConfigurationError(
            f"[image] {given} is for {', '.join(sorted(found))} by its boot loader, and the "
            f"guest is {arch}"
        )


def _content(disk: Disk, partition: Partition) -> bytes:
    return read_disk(disk, partition.offset, min(partition.size, 64 * _BLOCK))


def _root(disk: Disk, partitions: list[Partition], given: Path) -> str:
    """The root's device as mount(8) has it: by its name where it has one, else by its number."""
    ufs = [p for p in partitions if p.kind == FREEBSD_UFS and _is_ufs(disk, p)]
    if not ufs:
        zfs = any(p.kind == FREEBSD_ZFS for p in partitions)
        raise ConfigurationError(
            f"[image] {given}: expected a partition of type freebsd-ufs with a UFS in it; it has "
            + (", ".join(str(p.kind) for p in partitions) or "no partition at all")
            + ("; that is ZFS: take the release's image with UFS" if zfs else "")
        )
    named = [p for p in ufs if p.label == "rootfs"]
    root = (named or ufs)[0]
    if (
        re.fullmatch(r"[A-Za-z0-9._-]+", root.label)
        and [p.label for p in partitions].count(root.label) == 1
    ):
        return f"ufs:/dev/gpt/{root.label}"
    return f"ufs:/dev/vtbd0p{root.number}"


def _is_ufs(disk: Disk, partition: Partition) -> bool:
    head = read_disk(disk, partition.offset, 128 * 1024)
    return any(head[end - 4 : end] in _UFS_MAGICS for end in _UFS_MAGIC_ENDS)
