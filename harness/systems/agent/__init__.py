# SPDX-License-Identifier: BSD-2-Clause
"""The guest's end of the control channel, in C: the files that each system's program is made with.

`frames.c` needs no C library; `agent.c` needs POSIX calls, and an init that calls its serve().
"""

from pathlib import Path

INCLUDE = Path(__file__).parent
"""Where `frames.h` and `agent.h` are."""
FRAMES = (INCLUDE / "frames.c",)
"""What makes frames and takes them apart."""
AGENT = (*FRAMES, INCLUDE / "agent.c")
"""What serves the whole channel."""


def headers() -> list[Path]:
    """What the sources include, so that it can go into the hash of what is compiled."""
    return sorted(INCLUDE.glob("*.h"))
