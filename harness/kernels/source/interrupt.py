# SPDX-License-Identifier: BSD-2-Clause
"""Ctrl-C during work that does not await."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interruptible() -> Iterator[None]:
    """Has Ctrl-C and SIGTERM raise KeyboardInterrupt in the block at once.

    An event loop's handlers only take note, and act when the block, which does not await, is over.
    Outside the main thread nothing can be done, and nothing is.
    """
    saved = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if callable(handler):  # what is ignored or deadly stays so
                saved[number] = handler
                signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in saved.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
