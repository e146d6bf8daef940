# SPDX-License-Identifier: BSD-2-Clause
"""A root from packages, as a file system: layout, owners, dpkg's database, sizes."""

import hashlib
import io
import os
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

from harness.disk_tools import find_tool, missing_disk_tools
from harness.errors import ConfigurationError, InfrastructureError
from harness.files import file_hash
from harness.kernels.apt import Package
from harness.systems.linux.debian_root import Root, add_file, finish, unpack_root
from harness.systems.linux.root_image import make_file_system

Member = tuple[str, bytes | str | None, int, int, int]
"""Path, content (a link's target as text; None: a folder), mode, user, group."""

BASE: list[Member] = [
    ("./", None, 0o755, 0, 0),
    ("./bin", None, 0o755, 0, 0),
    ("./bin/tool", b"a tool", 0o4755, 0, 0),
    ("./bin/also", "hard:./bin/tool", 0o4755, 0, 0),
    ("./lib/x/y.so", "link:z.so", 0o777, 0, 0),
    ("./etc/tool.conf", b"key = 1\n", 0o644, 0, 0),
    ("./etc/secret", b"s", 0o640, 0, 42),
    ("./etc/with space", b"w", 0o600, 7, 8),
    ("./var/spool", None, 0o2755, 0, 8),
    ("./usr/share/man/man1/tool.1", b"man", 0o644, 0, 0),
    ("./usr/share/doc/tool/copyright", b"(c)", 0o644, 0, 0),
    ("./usr/share/doc/tool/changelog", b"long", 0o644, 0, 0),
    ("./usr/share/base-passwd/passwd.master", b"root::0:0:root:/root:/bin/bash\n", 0o644, 0, 0),
]


def tar(members: list[Member]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for path, content, mode, user, group in members:
            member = tarfile.TarInfo(path)
            member.mode, member.uid, member.gid = mode, user, group
            data = b""
            if content is None:
                member.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                kind, member.linkname = content.split(":", 1)
                member.type = tarfile.LNKTYPE if kind == "hard" else tarfile.SYMTYPE
            else:
                data = content
                member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return raw.getvalue()


def ar(members: dict[str, bytes]) -> bytes:
    """deb(5): an ar(5) archive."""
    out = b"!<arch>\n"
    for name, data in members.items():
        out += b"%-16s%-12d%-6d%-6d%-8s%-10d`\n" % (name.encode(), 0, 0, 0, b"100644", len(data))
        out += data + b"\n" * (len(data) % 2)
    return out


def package(folder: Path, members: list[Member], **fields: str) -> Package:
    control = {"Package": "tool", "Version": "1.0", "Architecture": "amd64"} | fields
    text = "".join(f"{key.replace('_', '-')}: {value}\n" for key, value in control.items())
    information: list[Member] = [
        ("./control", text.encode(), 0o644, 0, 0),
        ("./conffiles", b"/etc/tool.conf\n", 0o644, 0, 0),
        ("./postinst", b"#!/bin/sh\nexit 1\n", 0o755, 0, 0),
    ]
    file = folder / f"{control['Package']}.deb"
    parts = {"debian-binary": b"2.0\n", "control.tar": tar(information), "data.tar": tar(members)}
    file.write_bytes(ar(parts))
    return Package(control["Package"], "1.0", "amd64", "suite", file, file_hash(file))


@pytest.fixture
def root(tmp_path: Path) -> Root:
    tree = tmp_path / "tree"
    tree.mkdir()
    root = unpack_root([package(tmp_path, BASE, Multi_Arch="same")], tree)
    finish(root)
    return root


def test_a_merged_usr(root: Root) -> None:
    assert os.readlink(root.tree / "bin") == "usr/bin"  # noqa: PTH115
    assert (root.tree / "usr/bin/tool").read_bytes() == b"a tool"
    assert (root.tree / "usr/bin/also").stat().st_ino == (root.tree / "bin/tool").stat().st_ino
    assert os.readlink(root.tree / "usr/lib/x/y.so") == "z.so"  # noqa: PTH115


def test_documentation_is_left_out_but_not_copyright(root: Root) -> None:
    assert not (root.tree / "usr/share/man/man1").exists()
    assert [p.name for p in (root.tree / "usr/share/doc/tool").iterdir()] == ["copyright"]
    assert (
        "path-exclude=/usr/share/man/*" in (root.tree / "etc/dpkg/dpkg.cfg.d/left-out").read_text()
    )


def test_dpkg_knows_the_package(root: Root) -> None:
    done = subprocess.run(
        ["dpkg-query", f"--admindir={root.tree}/var/lib/dpkg", "-W", "-f",
         "${binary:Package} ${Version} ${db:Status-Status}\n${Conffiles}\n"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("tool:amd64 1.0 installed\n"), done.stderr
    digest = hashlib.md5(b"key = 1\n", usedforsecurity=False).hexdigest()
    assert f" /etc/tool.conf {digest}\n" in done.stdout
    info = root.tree / "var/lib/dpkg/info"
    assert "/bin/tool\n" in (info / "tool:amd64.list").read_text()
    assert os.access(info / "tool:amd64.postinst", os.X_OK)


def test_nobody_has_a_password(root: Root) -> None:
    assert (root.tree / "etc/passwd").read_text().splitlines() == [
        "root:x:0:0:root:/root:/bin/bash",
        "sshd:x:100:65534::/run/sshd:/usr/sbin/nologin",
    ]
    assert {line.split(":")[1] for line in (root.tree / "etc/shadow").read_text().split()} == {"*"}


def debugfs(image: Path, command: str) -> str:
    tool = find_tool("debugfs")
    assert tool is not None
    return subprocess.run(
        [tool, "-R", command, str(image)], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.skipif(missing_disk_tools() is not None, reason=str(missing_disk_tools()))
def test_owners_and_modes_in_the_file_system(root: Root, tmp_path: Path) -> None:
    add_file(root, "etc/mine", b"mine", 0o600)
    image = tmp_path / "image"
    make_file_system(root, image, 40)
    assert image.stat().st_size == 40 << 20

    def about(path: str) -> tuple[str, str, str]:
        found = debugfs(image, f'stat "{path}"')
        fields = [re.search(rf"{key}: +(\d+)", found) for key in ("Mode", "User", "Group")]
        mode, user, group = (field[1] if field else "" for field in fields)
        return mode, user, group

    assert about("/") == ("0755", "0", "0")
    assert about("/usr/bin/tool") == ("04755", "0", "0")
    assert about("/etc/secret") == ("0640", "0", "42")
    assert about("/etc/shadow") == ("0640", "0", "42")
    assert about("/etc/with space") == ("0600", "7", "8")
    assert about("/var/spool") == ("02755", "0", "8")
    assert about("/proc") == ("0555", "0", "0")
    assert about("/tmp") == ("01777", "0", "0")
    assert about("/etc/mine") == ("0600", "0", "0")
    fsck = find_tool("e2fsck")
    if fsck is not None:
        subprocess.run([fsck, "-f", "-n", str(image)], check=True, capture_output=True)


def test_an_image_that_is_too_small(root: Root, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"size_mib = 4 is too small: .* need \d+ MiB"):
        make_file_system(root, tmp_path / "image", 4)
    assert not (tmp_path / "image").exists()


@pytest.mark.skipif(missing_disk_tools() is not None, reason=str(missing_disk_tools()))
def test_an_image_that_mke2fs_finds_too_small(root: Root, tmp_path: Path) -> None:
    for number in range(6000):  # more inodes than a file system of that size gets
        (root.tree / f"usr/{number}").touch()
    with pytest.raises(ConfigurationError, match="size_mib = 17 is too small for the packages"):
        make_file_system(root, tmp_path / "image", 17)


def test_a_damaged_package(tmp_path: Path) -> None:
    good = package(tmp_path, BASE)
    good.file.write_bytes(good.file.read_bytes()[:300])
    (tmp_path / "tree").mkdir()
    with pytest.raises(InfrastructureError, match=r"tool\.deb cannot be unpacked"):
        unpack_root([good], tmp_path / "tree")


def test_an_archive_that_ends_too_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = package(tmp_path, BASE)
    (tmp_path / "tree").mkdir()
    (tmp_path / "whole.tar").write_bytes(tar(BASE[:3]))
    tool = tmp_path / "dpkg-deb"
    tool.write_text(f"#!/bin/sh\ncat {tmp_path}/whole.tar\nexit 2\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(InfrastructureError, match="dpkg-deb ended with status 2"):
        unpack_root([good], tmp_path / "tree")


def test_a_path_that_leaves_the_root(tmp_path: Path) -> None:
    bad = package(tmp_path, [("./usr/../../etc/x", b"", 0o644, 0, 0)])
    (tmp_path / "tree").mkdir()
    with pytest.raises(InfrastructureError, match="has the path"):
        unpack_root([bad], tmp_path / "tree")
