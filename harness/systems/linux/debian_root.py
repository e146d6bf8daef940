# SPDX-License-Identifier: BSD-2-Clause
"""A Debian root unpacked from packages by a normal user, and configured without running any of it.

No program of the root runs on the host (it may be of another architecture) and no maintainer script
runs in the guest (under TCG that takes minutes): the few things that the scripts of a minimal set
do, and that a guest needs, are done here. dpkg's database says what is installed, so that dpkg and
apt work in the guest. Layout: Debian Policy, chapter 9; dpkg's database: deb-control(5), dpkg(1).
"""

import hashlib
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from harness.errors import InfrastructureError
from harness.kernels.apt import Package

MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""Folders that are links into /usr (Debian since bookworm)."""
_LEFT_OUT = ("usr/share/doc/", "usr/share/info/", "usr/share/locale/", "usr/share/man/")
"""As dpkg.cfg of the distribution's own container images has it; copyright files stay."""
_ACCOUNTS = "usr/share/base-passwd"
_SSHD_UID = 100
_SCRIPTS = ("preinst", "postinst", "prerm", "postrm", "config")
_FOLDERS = {
    "dev": 0o755, "etc": 0o755, "mnt": 0o755, "opt": 0o755, "proc": 0o555, "root": 0o700,
    "run": 0o755, "srv": 0o755, "sys": 0o555, "tmp": 0o1777, "usr/local": 0o755,
    "var/lib/dpkg/info": 0o755, "var/lib/dpkg/updates": 0o755, "var/log": 0o755,
    "var/tmp": 0o1777,
}  # fmt: skip
_COPIES = {
    "usr/share/base-files/profile": "etc/profile",
    "usr/share/base-files/dot.profile": "root/.profile",
    "usr/share/base-files/dot.bashrc": "root/.bashrc",
    f"{_ACCOUNTS}/passwd.master": "etc/passwd",
    f"{_ACCOUNTS}/group.master": "etc/group",
    "usr/share/libc-bin/nsswitch.conf": "etc/nsswitch.conf",
}
_LINKS = {"usr/bin/awk": "mawk", "usr/bin/pager": "less", "usr/bin/sh": "dash"}
"""What alternatives and diversions come to, where the target is there and the name is not."""


@dataclass
class Root:
    """A root under construction: the tree on the host, and what a normal user cannot give it."""

    tree: Path
    owners: dict[str, tuple[int, int]] = field(default_factory=dict)
    """User and group id by path in the guest, without the leading slash, where one is not 0."""
    modes: dict[str, int] = field(default_factory=dict)
    """Permissions of folders, set at the end: one that is read-only could not be filled."""


def unpack_root(packages: Iterable[Package], tree: Path) -> Root:
    """Unpacks packages into an empty folder and configures them.

    Raises InfrastructureError where a package cannot be read.
    """
    root = Root(tree)
    for name in MERGED:
        (tree / "usr" / name).mkdir(parents=True, exist_ok=True)
        (tree / name).symlink_to(f"usr/{name}")
    for folder, mode in _FOLDERS.items():
        (tree / folder).mkdir(parents=True, exist_ok=True)
        root.modes[folder] = mode
    status = []
    for package in packages:
        listed = _unpack(package, root)
        status.append(_register(package, root, listed))
    (tree / "var/lib/dpkg/status").write_text("\n".join(status))
    (tree / "var/lib/dpkg/available").touch()
    # names in info/ have an architecture where several may be installed (dpkg's fsys layout 1)
    (tree / "var/lib/dpkg/info/format").write_text("1\n")
    _configure(root)
    return root


def add_file(root: Root, path: str, content: bytes, permissions: int = 0o644) -> None:
    """Writes a file of root's into the tree, its folders too."""
    file = root.tree / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    file.write_bytes(content)
    file.chmod(permissions)


def finish(root: Root) -> None:
    """Gives folders their permissions, as the last thing that is done to the tree."""
    for path, mode in root.modes.items():
        (root.tree / path).chmod(mode | 0o500)  # mke2fs, run by the same user, has to read them


def _unpack(package: Package, root: Root) -> list[str]:
    """Unpacks one package's files; their paths as dpkg lists them."""
    listed = ["/."]
    with _archive(package, "--fsys-tarfile") as archive:
        for member in archive:
            path = str(PurePosixPath(member.name))
            if path == ".":
                continue
            listed.append("/" + path)
            if _is_left_out(path):
                continue
            where = _merged(path)
            _place(member, archive, where, root)
            if member.uid or member.gid:
                root.owners[where] = (member.uid, member.gid)
    return listed


def _is_left_out(path: str) -> bool:
    return path.startswith(_LEFT_OUT) and not path.endswith("/copyright")


def _merged(path: str) -> str:
    """Where a path of a package is in a root whose /usr is merged."""
    if ".." in PurePosixPath(path).parts:
        raise InfrastructureError(f"a package has the path {path}")
    return "usr/" + path if path.split("/")[0] in MERGED else path


def _place(member: tarfile.TarInfo, archive: tarfile.TarFile, where: str, root: Root) -> None:
    target = root.tree / where
    target.parent.mkdir(parents=True, exist_ok=True)
    if member.isdir():
        if not target.is_symlink():
            target.mkdir(exist_ok=True)
            root.modes[where] = member.mode
        return
    if target.is_symlink() or target.is_file():
        target.unlink()
    if member.issym():
        target.symlink_to(member.linkname)
    elif member.islnk():
        os.link(root.tree / _merged(str(PurePosixPath(member.linkname))), target)
    elif (content := archive.extractfile(member)) is not None:
        with target.open("wb") as file:
            shutil.copyfileobj(content, file)
        target.chmod(member.mode | 0o400)
        os.utime(target, (member.mtime, member.mtime))


@contextmanager
def _archive(package: Package, which: str) -> Iterator[tarfile.TarFile]:
    """A package's archive as a stream: its files, or its control information."""
    argv = ["dpkg-deb", which, str(package.file)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                yield archive
            _drain(process.stdout)
        except tarfile.TarError as error:
            process.kill()
            raise InfrastructureError(f"{package.file} cannot be unpacked: {error}") from error
    # a stream that was cut off between two members is a whole archive to tarfile
    if process.returncode != 0:
        raise InfrastructureError(
            f"{package.file} cannot be unpacked: dpkg-deb ended with status {process.returncode}"
        )


def _drain(stream: IO[bytes]) -> None:
    while stream.read(1 << 16):
        pass


def _register(package: Package, root: Root, listed: list[str]) -> str:
    """Enters a package into dpkg's database; its paragraph for the status file."""
    info: dict[str, bytes] = {}
    with _archive(package, "--ctrl-tarfile") as archive:
        for member in archive:
            file = archive.extractfile(member)
            if member.isfile() and file is not None:
                info[PurePosixPath(member.name).name] = file.read()
    control = info.pop("control").decode().strip()
    fields = dict(
        line.split(": ", 1) for line in control.splitlines() if ": " in line and line[0] != " "
    )
    name = package.name
    if fields.get("Multi-Arch") == "same":
        name = f"{name}:{fields['Architecture']}"
    for kind, content in info.items():
        entry = root.tree / f"var/lib/dpkg/info/{name}.{kind}"
        entry.write_bytes(content)
        entry.chmod(0o755 if kind in _SCRIPTS else 0o644)
    (root.tree / f"var/lib/dpkg/info/{name}.list").write_text("\n".join(listed) + "\n")
    first, rest = control.split("\n", 1)
    paragraph = f"{first}\nStatus: install ok installed\n{rest}\n"
    if "conffiles" in info:
        paragraph += _conffiles(info["conffiles"].decode().split("\n"), root)
    return paragraph


def _conffiles(names: list[str], root: Root) -> str:
    lines = []
    for name in names:
        file = root.tree / _merged(name.strip().lstrip("/"))
        if name.startswith("/") and file.is_file():
            digest = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
            lines.append(f" {name.strip()} {digest}\n")
    return "Conffiles:\n" + "".join(lines) if lines else ""


def _configure(root: Root) -> None:
    """What maintainer scripts would have done, as far as this root needs it."""
    tree = root.tree
    for source, copy in _COPIES.items():
        if (tree / source).exists():
            add_file(root, copy, (tree / source).read_bytes())
    for link, target in _LINKS.items():
        there = tree / link
        if not there.is_symlink() and not there.exists() and (there.parent / target).exists():
            there.symlink_to(target)
    for name, target in (("var/run", "/run"), ("var/lock", "/run/lock")):
        folder = tree / name
        if folder.is_dir() and not folder.is_symlink():
            folder.rmdir()
            root.modes.pop(name, None)
        if not folder.is_symlink():
            folder.symlink_to(target)
    _add_accounts(root)
    add_file(root, "etc/hostname", b"guest\n")
    add_file(root, "etc/hosts", b"127.0.0.1\tlocalhost guest\n::1\tlocalhost\n")
    for kind in ("account", "auth", "password", "session"):  # else by pam-auth-update(8)
        add_file(root, f"etc/pam.d/common-{kind}", f"{kind} required pam_unix.so\n".encode())
    excluded = "".join(f"path-exclude=/{folder}*\n" for folder in _LEFT_OUT)
    add_file(
        root,
        "etc/dpkg/dpkg.cfg.d/left-out",
        f"{excluded}path-include=/usr/share/doc/*/copyright\n".encode(),
    )


def _add_accounts(root: Root) -> None:
    """System users that base-passwd does not have, and passwords: nobody has one."""
    passwd = root.tree / "etc/passwd"
    lines = passwd.read_text().splitlines() if passwd.exists() else []
    lines.append(f"sshd:*:{_SSHD_UID}:65534::/run/sshd:/usr/sbin/nologin")
    accounts = [line.split(":") for line in lines]
    for account in accounts:
        account[1] = "x"
    add_file(root, "etc/passwd", "".join(":".join(a) + "\n" for a in accounts).encode())
    shadow = "".join(f"{account[0]}:*:19000:0:99999:7:::\n" for account in accounts)
    add_file(root, "etc/shadow", shadow.encode(), 0o640)
    root.owners["etc/shadow"] = (0, 42)  # root:shadow, of base-passwd's group.master
