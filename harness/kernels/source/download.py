# SPDX-License-Identifier: BSD-2-Clause
"""A file from a URL, known by its SHA-256: resumed where it was cut off, checked, then kept.

What a server sends is trusted no further than the checksum: lengths, ranges and status codes only
decide what is asked for next (RFC 9110, sections 14 and 15).
"""

import errno
import http.client
import re
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.errors import ConfigurationError, InfrastructureError
from harness.files import disk_errors_named, file_hash, sync_folder
from harness.kernels.source.lock import locked
from harness.progress import Say

_STALL_SECONDS = 30.0
_ATTEMPTS = 5
_PAUSE_SECONDS = 1.0
_SAY_SECONDS = 5.0
_BLOCK = 1 << 18
_RANGE = re.compile(r"bytes (\d+)-\d+/(?:\d+|\*)")


class _GaveUpError(Exception):
    """The download cannot go on; the message says why."""


def download(
    url: str,
    checksum: str,
    into: Path,
    where: str,
    say: Say,
    *,
    stall_seconds: float = _STALL_SECONDS,
    pause_seconds: float = _PAUSE_SECONDS,
) -> Path:
    """The file with that checksum in the folder `into`, from there or downloaded.

    A connection that sends nothing for `stall_seconds` is given up and the rest asked for again,
    as after any cut; attempts that bring nothing are limited, `pause_seconds` apart at first.
    Raises InfrastructureError, which begins with `where`, where the file cannot be had or is
    another; ConfigurationError for a URL that is not http(s).
    """
    if not url.lower().startswith(("http://", "https://")):
        raise ConfigurationError(f"{where}: only http:// and https:// are downloaded, not {url}")
    name = re.sub(r"[^A-Za-z0-9._-]", "-", url.partition("?")[0].rpartition("/")[2]) or "file"
    kept = into / f"{checksum[:16]}-{name}"
    with (
        disk_errors_named(into),
        locked(kept.with_name(f"{kept.name}.lock"), f"the download of {name}", say),
    ):
        if kept.is_file() and file_hash(kept) == checksum:
            return kept
        part = kept.with_name(f".{kept.name}.part")
        resumed = part.exists()
        found = _complete(url, part, name, where, say, stall_seconds, pause_seconds)
        if found != checksum and resumed:
            part.unlink()
            say(f"{name}: what was left of an earlier download does not fit; from the beginning")
            found = _complete(url, part, name, where, say, stall_seconds, pause_seconds)
        if found != checksum:
            part.unlink()
            raise InfrastructureError(
                f"{where}: {url} is another file than the recipe means: its SHA-256 should be "
                f"{checksum} and is {found}; correct `sha256`, or name another server"
            )
        part.rename(kept)
        sync_folder(into)
    return kept


def _complete(
    url: str, part: Path, name: str, where: str, say: Say, stall: float, pause: float
) -> str:
    """Downloads all that is missing of `part`; its checksum."""
    failures = 0
    say(f"downloading {name}" + (f", resumed at {_mb(_size(part))}" if _size(part) else ""))
    while True:
        before = _size(part)
        try:
            _transfer(url, part, name, say, stall)
            break
        except _GaveUpError as error:
            raise InfrastructureError(f"{where}: {url} cannot be downloaded: {error}") from error
        except (OSError, http.client.HTTPException) as error:
            if _is_the_disks(error):
                raise
            failures = 0 if _size(part) > before else failures + 1
            reason = getattr(error, "reason", None) or str(error) or type(error).__name__
            if failures >= _ATTEMPTS:
                raise InfrastructureError(
                    f"{where}: {url} cannot be downloaded: {reason}; see to the network, or name "
                    "a file that is here already"
                ) from error
            say(f"{name}: cut off at {_mb(_size(part))} ({reason}); going on from there")
            time.sleep(pause * (failures + 1))
    return file_hash(part)


def _is_the_disks(error: Exception) -> bool:
    full = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
    return isinstance(error, OSError) and (error.filename is not None or error.errno in full)


def _transfer(url: str, part: Path, name: str, say: Say, stall: float) -> None:
    """One request for what is missing. Raises OSError or HTTPException where it is cut off."""
    have = _size(part)
    request = urllib.request.Request(url, headers={"User-Agent": "kernel-race-harness"})
    # compressed on the way, ranges would mean something else
    request.add_header("Accept-Encoding", "identity")
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        answer = urllib.request.urlopen(request, timeout=stall)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and have:  # nothing beyond what is here: whole, or never was
                return
            if error.code >= 500 or error.code in (408, 429):
                raise ConnectionError(f"HTTP {error.code} {error.reason}") from error
            raise _GaveUpError(f"HTTP {error.code} {error.reason}") from error
    with answer:
        start = _start(answer, have)
        promised = answer.headers.get("Content-Length", "")
        total = start + int(promised) if promised.isdigit() else None
        with part.open("r+b" if part.exists() else "w+b") as file:
            file.truncate(start)
            file.seek(start)
            _receive(answer, file, total, name, say)


def _start(answer: Any, have: int) -> int:
    """Where in the file the answer's body begins."""
    if answer.status != http.client.PARTIAL_CONTENT:
        return 0
    found = _RANGE.match(answer.headers.get("Content-Range", ""))
    if found is None or int(found[1]) > have:
        raise _GaveUpError(
            f"asked for all from byte {have} on, the server sends "
            f"{answer.headers.get('Content-Range') or 'an unnamed part'}"
        )
    return int(found[1])


def _receive(answer: Any, file: Any, total: int | None, name: str, say: Say) -> None:
    said = time.monotonic()
    while block := answer.read1(_BLOCK):
        file.write(block)
        if time.monotonic() - said >= _SAY_SECONDS:
            said = time.monotonic()
            say(f"downloading {name}: {_mb(file.tell())}" + (f" of {_mb(total)}" if total else ""))
    if total is not None and file.tell() < total:
        raise ConnectionError(f"the server closed after {file.tell()} of {total} bytes")


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
