# SPDX-License-Identifier: BSD-2-Clause
"""One builder at a time, across processes."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.progress import Say

_POLL_SECONDS = 0.2
_SAY_SECONDS = 10.0


@contextmanager
def locked(path: Path, what: str, say: Say) -> Iterator[None]:
    """Holds the lock file for the block; waits for another holder and says so.

    The kernel gives a dead holder's lock back (flock(2)), so none is ever stale.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        said = float("-inf")
        while not _try(file.fileno()):
            if time.monotonic() - said >= _SAY_SECONDS:
                say(f"waiting for another process that works on {what}")
                said = time.monotonic()
            time.sleep(_POLL_SECONDS)
        yield


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
