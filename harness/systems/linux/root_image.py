# SPDX-License-Identifier: BSD-2-Clause
"""The disk of a full-image guest: a distribution's root in an ext4 image, made without root."""

import hashlib
import json
import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

from harness.disk_tools import find_tool, missing_disk_tools
from harness.errors import ConfigurationError, InfrastructureError
from harness.kernels.apt import download_with_dependencies
from harness.kernels.packaged import DEBIAN_ARCHITECTURES
from harness.kernels.source.interrupt import interruptible
from harness.plan.guest import RootModel
from harness.progress import Say
from harness.systems.linux import debian_root

ROOT_FILES = Path(__file__).with_name("root")
READY_LINE = b"harness: the SSH server listens"
"""What bring-up.sh prints on the console when connections are welcome."""
BASE_PACKAGES = (
    "apt", "base-files", "base-passwd", "bash", "coreutils", "dash", "debianutils", "diffutils",
    "dpkg", "findutils", "grep", "gzip", "hostname", "init-system-helpers", "iproute2", "kmod",
    "less", "libc-bin", "login", "mawk", "mount", "ncurses-base", "ncurses-bin", "netbase",
    "openssh-server", "perl-base", "procps", "sed", "sysvinit-core", "sysvinit-utils", "tar",
    "usr-is-merged", "util-linux",
)  # fmt: skip
"""Debian's essential packages and what makes a machine of them that can be logged in to."""
_OWN_FILES = {
    path: ((ROOT_FILES / name).read_bytes(), permissions)
    for name, path, permissions in (
        ("inittab", "etc/inittab", 0o644),
        ("bring-up.sh", "etc/harness/bring-up", 0o755),
        ("sshd_config", "etc/ssh/sshd_config", 0o644),
    )
}
_CODE = b"".join(Path(file).read_bytes() for file in (__file__, debian_root.__file__))
# read when the code is: a process whose files are changed under it makes what it calls by its name
_BUILDER = hashlib.sha256(
    _CODE + b"".join(content for content, _ in _OWN_FILES.values())
).hexdigest()
"""What the packages are made an image with: a new builder makes new images."""
_MAKE_SECONDS = 300
_SPARE = 1.08
"""Inode tables, the journal of a small file system and directories, beside the files."""
_JOURNAL_BYTES = 16 << 20


def root_image(model: RootModel, arch: str, cache: Path, say: Say) -> Path:
    """The image, a raw ext4 file system, from the cache or made.

    It holds no key and nothing of a target or a campaign, and no guest writes to it. Raises
    ConfigurationError where it is too small for its packages, InfrastructureError for the host.
    """
    names = sorted({*BASE_PACKAGES, *model.packages})
    ingredients = [arch, model.suite, names, model.size_mib, _BUILDER]
    key = hashlib.sha256(json.dumps(ingredients).encode()).hexdigest()[:16]
    image = cache / "images" / f"root-{arch}-{key}.ext4"
    if image.exists():
        return image
    if missing := missing_disk_tools():
        raise InfrastructureError(missing)
    with interruptible():
        _make(image, model, names, arch, cache, say)
    return image


def _make(
    image: Path, model: RootModel, names: list[str], arch: str, cache: Path, say: Say
) -> None:
    image.parent.mkdir(parents=True, exist_ok=True)
    umask = os.umask(0o022)  # what is made here is the guest's, whoever makes it
    unfinished = image.with_name(f".{image.name}.{os.getpid()}")
    try:
        with tempfile.TemporaryDirectory(prefix="root-", dir=image.parent) as folder:
            packages = Path(folder, "packages")
            packages.mkdir()
            found = download_with_dependencies(
                names, model.suite, DEBIAN_ARCHITECTURES[arch], packages, cache, say
            )
            say(f"making a disk of {len(found)} packages ({model.size_mib} MiB, {arch})")
            tree = Path(folder, "tree")
            tree.mkdir()
            root = debian_root.unpack_root(found, tree)
            shutil.rmtree(packages)
            _add_own_files(root)
            debian_root.finish(root)
            make_file_system(root, unfinished, model.size_mib)
        unfinished.rename(image)
    finally:
        os.umask(umask)
        unfinished.unlink(missing_ok=True)


def _add_own_files(root: debian_root.Root) -> None:
    """Init's table, bring-up, the server's configuration; links to what a campaign brings."""
    for path, (content, permissions) in _OWN_FILES.items():
        debian_root.add_file(root, path, content, permissions)
    debian_root.add_file(root, "etc/fstab", b"/dev/vda / ext4 rw,noatime 0 1\n")
    (root.tree / "etc/inittab.d").mkdir()  # init complains where it is not
    for name in ("modules", "images", "workload"):
        (root.tree / name).symlink_to(f"run/harness/{name}")


def make_file_system(root: debian_root.Root, image: Path, size_mib: int) -> None:
    """Writes the tree into a new image, each file owned as in the guest.

    Raises ConfigurationError where the image is too small, InfrastructureError where a tool fails.
    """
    needed = _needed_mib(root.tree)
    if needed > size_mib:
        raise ConfigurationError(
            f"userland.root: size_mib = {size_mib} is too small: the packages need {needed} MiB "
            "of file system, and the guest some room to write in"
        )
    with image.open("wb") as file:
        file.truncate(size_mib << 20)
    options = "root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0"
    said = _run(
        ["mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-E", options, "-d", str(root.tree)], image
    )
    if said is not None:
        if "Could not allocate" in said or "No space" in said:
            raise ConfigurationError(
                f"userland.root: size_mib = {size_mib} is too small for the packages: {said}"
            )
        raise InfrastructureError(f"mke2fs made no file system of {root.tree}: {said}")
    with tempfile.NamedTemporaryFile("w", prefix="owners-", suffix=".debugfs") as script:
        script.writelines(_ownership(root))
        script.flush()
        if (said := _run(["debugfs", "-w", "-f", script.name], image)) is not None:
            raise InfrastructureError(f"debugfs could not set the owners of files: {said}")


def _needed_mib(tree: Path) -> int:
    total = _JOURNAL_BYTES
    for folder, folders, files in os.walk(tree):
        total += 4096 * len(folders)
        for name in files:
            found = Path(folder, name).lstat()
            if stat.S_ISREG(found.st_mode):
                total += -(-found.st_size // 4096) * 4096 // found.st_nlink
    return int(total * _SPARE) >> 20


def _ownership(root: debian_root.Root) -> list[str]:
    """Commands for debugfs(8), which set what the files on the host do not have."""
    commands = []
    for folder, folders, files in os.walk(root.tree):
        for name in sorted([*folders, *files]):
            path = Path(folder, name)
            where = str(path.relative_to(root.tree))
            found = path.lstat()
            user, group = root.owners.get(where, (0, 0))
            quoted = '"/' + where.replace('"', '""') + '"'
            if found.st_uid != user:
                commands.append(f"set_inode_field {quoted} uid {user}\n")
            if found.st_gid != group:
                commands.append(f"set_inode_field {quoted} gid {group}\n")
            # chown(2) takes set-id bits away, and a folder's permissions were widened for mke2fs
            if (mode := root.modes.get(where)) is not None and stat.S_IMODE(found.st_mode) != mode:
                commands.append(f"set_inode_field {quoted} mode 0{stat.S_IFDIR | mode:o}\n")
    return commands


def _run(argv: list[str], image: Path) -> str | None:
    """Runs a tool on the image; what it said where it failed, else None."""
    tool = find_tool(argv[0])
    if tool is None:
        return f"{argv[0]} is not installed"
    environment = os.environ | {"LC_ALL": "C.UTF-8", "MKE2FS_SKIP_CHECK_MSG": "1"}
    try:
        done = subprocess.run(
            [tool, *argv[1:], str(image)], env=environment, capture_output=True, text=True,
            errors="replace", stdin=subprocess.DEVNULL, timeout=_MAKE_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"not done after {_MAKE_SECONDS} s"
    said = "\n".join(
        line for line in done.stderr.strip().splitlines() if not line.startswith(f"{argv[0]} 1.")
    )
    failed = done.returncode != 0 or (argv[0] == "debugfs" and said)
    return (said or f"status {done.returncode}") if failed else None
