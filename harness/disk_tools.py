# SPDX-License-Identifier: BSD-2-Clause
"""The host's programs that make disk images."""

import os
import shutil

_PACKAGES = {"mke2fs": "e2fsprogs", "debugfs": "e2fsprogs", "qemu-img": "qemu-utils"}
_MORE_FOLDERS = "/usr/sbin:/sbin"
"""Where Debian has some of them; not in a normal user's PATH."""


def find_tool(name: str) -> str | None:
    """Where the program is; None where it is not installed."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_MORE_FOLDERS}")


def missing_disk_tools() -> str | None:
    """What to say where programs that full-image guests need are not installed, else None."""
    missing = [name for name in _PACKAGES if find_tool(name) is None]
    if not missing:
        return None
    packages = sorted({_PACKAGES[name] for name in missing})
    return (
        f"{' and '.join(missing)} not installed, for the disk of a full image: install "
        + " and ".join(packages)
    )
