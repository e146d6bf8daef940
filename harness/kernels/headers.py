# SPDX-License-Identifier: BSD-2-Clause
"""Whether a header of the host's is installed."""

import os
import subprocess


def has_header(header: str, compiler: str = "cc") -> bool:
    """Whether the compiler, which must be there, finds `#include <header>`."""
    done = subprocess.run(
        [compiler, "-E", "-x", "c", "-o", os.devnull, "-"],
        input=f"#include <{header}>\n",
        text=True,
        capture_output=True,
        check=False,
    )
    return done.returncode == 0
