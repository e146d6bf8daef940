# SPDX-License-Identifier: BSD-2-Clause
"""Files that are there whole or not at all."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from harness.errors import InfrastructureError


def write_atomically(path: Path, content: bytes, mode: int | None = None) -> None:
    """Writes a file that is either whole or absent after a crash, and durable on return.

    `mode` is its permissions; without one the user's umask says. Raises OSError (a full disk, say);
    then nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable (fsync(2) of the directory)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder_once(folder: Path, fill: Callable[[Path], None]) -> Path:
    """Fills a cache folder under another name and renames it, unless it is there already.

    Two processes may do so at once: one of them wins, and both get a whole folder.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        fill(temporary)
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def file_hash(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def disk_errors_named(what: Path) -> Iterator[None]:
    """Turns an OSError of the block into an InfrastructureError that says what to do."""
    try:
        yield
    except OSError as error:
        hint = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "mend that"
        raise InfrastructureError(
            f"cannot write {what}: {error.strerror}; {hint}, then go on with --resume"
        ) from error
