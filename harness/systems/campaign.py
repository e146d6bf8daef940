# SPDX-License-Identifier: BSD-2-Clause
"""What a campaign gives to guests that are driven over SSH, in the harness's memory only."""

import functools
import os
from pathlib import Path

from harness.console.ssh import KeyPair, new_key


@functools.cache
def campaign_keys() -> tuple[KeyPair, KeyPair]:
    """The user's key and one for the server: made once for each process."""
    return new_key("harness-campaign"), new_key("harness-guest")


def memory_file(name: str, content: bytes) -> Path:
    """An anonymous file with this content, by a path that QEMU can open, until the process ends."""
    descriptor = os.memfd_create(name)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(content)
    return Path(f"/proc/{os.getpid()}/fd/{descriptor}")
