# SPDX-License-Identifier: BSD-2-Clause
"""Initramfs archives in the kernel's newc format, written without root or device nodes of the host.

Format: Linux, Documentation/driver-api/early-userspace/buffer-format.rst.
"""

import stat
from dataclasses import dataclass

_CONSOLE = (5, 1)


@dataclass(frozen=True)
class Entry:
    """One member: `mode` with the file type's bits, `data` a file's content or a link's target."""

    path: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def folder(path: str) -> Entry:
    """A directory; its parents must come before it."""
    return Entry(path, stat.S_IFDIR | 0o755)


def file(path: str, data: bytes, permissions: int = 0o644) -> Entry:
    """A regular file."""
    return Entry(path, stat.S_IFREG | permissions, data)


def link(path: str, target: str) -> Entry:
    """A symbolic link."""
    return Entry(path, stat.S_IFLNK | 0o777, target.encode())


def console_device() -> Entry:
    """dev/console, which the kernel opens for init before anything is mounted."""
    return Entry("dev/console", stat.S_IFCHR | 0o600, device=_CONSOLE)


def archive(entries: list[Entry]) -> bytes:
    """The archive's bytes; the same entries give the same bytes."""
    parts = [_member(number, entry) for number, entry in enumerate(entries, start=1)]
    return b"".join([*parts, _member(0, Entry("TRAILER!!!", 0))])


def _member(number: int, entry: Entry) -> bytes:
    name = entry.path.encode() + b"\0"
    fields = [
        number, entry.mode, 0, 0, 1, 0, len(entry.data), 0, 0, *entry.device, len(name), 0
    ]  # fmt: skip
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _padded(header + name) + _padded(entry.data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
