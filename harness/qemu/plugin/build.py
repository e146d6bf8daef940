# SPDX-License-Identifier: BSD-2-Clause
"""Builds the plugin with the host's C compiler, once per source and compiler."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from harness.errors import InfrastructureError

SOURCES = (Path(__file__).with_name("failpoint.c"), Path(__file__).with_name("control_block.h"))
FLAGS = (
    *("-std=c11", "-O2", "-g", "-shared", "-fPIC", "-fvisibility=hidden", "-pthread"),
    *("-Wall", "-Wextra"),
)

_COMPILE_TIMEOUT_S = 120


def build_plugin(cache_dir: Path, compiler: str = "cc") -> Path:
    """Returns the path of the plugin's shared object, compiling it if `cache_dir` has none.

    The file's name holds a hash of the sources, the flags and the compiler's version. One file
    serves every QEMU (6.0 to 11.1). Several processes may build into one directory at a time.
    Raises InfrastructureError if there is no compiler, or if it fails.
    """
    version = _run([compiler, "--version"])
    plugin = cache_dir / f"failpoint-{_content_hash(version)}.so"
    if plugin.exists():
        return plugin
    cache_dir.mkdir(parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(dir=cache_dir, prefix=".failpoint-", suffix=".so")
    os.close(handle)
    try:
        _run([compiler, *FLAGS, str(SOURCES[0]), "-o", unfinished, "-ldl"])
        Path(unfinished).chmod(0o755)
        Path(unfinished).rename(plugin)
    finally:
        Path(unfinished).unlink(missing_ok=True)
    return plugin


def _content_hash(compiler_version: str) -> str:
    content = hashlib.sha256()
    for part in (*(source.read_bytes() for source in SOURCES), " ".join(FLAGS).encode()):
        content.update(hashlib.sha256(part).digest())
    content.update(compiler_version.encode())
    return content.hexdigest()[:16]


def _run(command: list[str]) -> str:
    if shutil.which(command[0]) is None:
        raise InfrastructureError(
            f"building QEMU's failpoint plugin needs a C compiler; there is no {command[0]!r}. "
            "Install one (Debian: apt install gcc libc6-dev)"
        )
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_COMPILE_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InfrastructureError(f"building QEMU's failpoint plugin: {error}") from error
    if done.returncode != 0:
        raise InfrastructureError(
            "building QEMU's failpoint plugin failed "
            "(are the C library's headers there? Debian: apt install libc6-dev):\n"
            f"$ {' '.join(command)}\n{done.stderr.strip()}"
        )
    return done.stdout
