# SPDX-License-Identifier: BSD-2-Clause
"""The Linux micro-guest's root: an initramfs with our init, busybox, modules and the workload."""

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.files import write_atomically
from harness.kernels.toolchain import compile_static
from harness.systems import agent
from harness.systems.linux import cpio

WORKLOAD_PATH = "/workload"

_APPLETS = """
ash awk cat chmod cp cut date dd df dmesg echo env find free grep gzip head hexdump insmod kill
ln ls lsmod mkdir mknod mkswap mount mv od pidof ps pwd rm rmmod sed seq sh sleep sort stty
swapoff swapon sync sysctl tail taskset tee test top touch tr true uname uptime vi wc which
xargs
""".split()  # noqa: SIM905 - words read better than quoted strings


@dataclass(frozen=True)
class Userland:
    """What goes into the image; `modules` are (name, content) in the order of loading, `files`
    (absolute path in the guest, content)."""

    init: Path
    busybox: Path
    workload: Path | None
    modules: tuple[tuple[str, bytes], ...]
    files: tuple[tuple[str, bytes], ...] = ()


def compile_init(arch: str, cache: Path) -> Path:
    """The micro-guest's init; `arch` is the harness's name. Raises HarnessError."""
    source = Path(__file__).with_name("init.c")
    return compile_static(source, cache, arch, parts=agent.AGENT, include=agent.INCLUDE)


def build_initramfs(userland: Userland, cache: Path) -> Path:
    """The image in the cache, written if it is not there; the same content is the same file."""
    data = cpio.archive(_entries(userland))
    image = cache / "images" / f"initramfs-{hashlib.sha256(data).hexdigest()[:16]}.cpio"
    if not image.exists():
        image.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(image, data)
    return image


def load_commands(userland: Userland) -> list[str]:
    """Shell commands that load the modules, in order."""
    return [f"insmod {_module_path(name)}" for name, _ in userland.modules]


def _module_path(name: str) -> str:
    return f"/modules/{name}.ko"


def _entries(userland: Userland) -> list[cpio.Entry]:
    entries = [cpio.folder(path) for path in ("dev", "proc", "sys", "tmp", "bin", "modules", "etc")]
    entries += [
        cpio.console_device(),
        cpio.file("init", userland.init.read_bytes(), 0o755),
        cpio.file("bin/busybox", userland.busybox.read_bytes(), 0o755),
        cpio.file("etc/passwd", b"root:x:0:0:root:/:/bin/sh\n"),
    ]
    entries += [cpio.link(f"bin/{applet}", "busybox") for applet in _APPLETS]
    entries += [cpio.file(_module_path(name)[1:], data) for name, data in userland.modules]
    added = sorted({parent for path, _ in userland.files for parent in _parents(path)})
    present = {entry.path for entry in entries}
    entries += [cpio.folder(path) for path in added if path not in present]
    entries += [cpio.file(path.lstrip("/"), data) for path, data in userland.files]
    if userland.workload is not None:
        entries.append(cpio.file(WORKLOAD_PATH[1:], userland.workload.read_bytes(), 0o755))
    return entries


def _parents(path: str) -> list[str]:
    """The folders above a file, as names in the archive."""
    return [str(parent) for parent in PurePosixPath(path.lstrip("/")).parents if parent.name]
