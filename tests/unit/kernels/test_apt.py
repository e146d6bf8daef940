# SPDX-License-Identifier: BSD-2-Clause
"""Packages by a private apt, with a stand-in for apt: no test here needs a network."""

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from harness.errors import ExitCode, InfrastructureError
from harness.kernels import apt
from harness.kernels.apt import (
    PackageUnavailableError,
    dependencies,
    download_with_dependencies,
    fetch_package,
    unpack,
)
from harness.progress import silent

SCRIPT = """#!/bin/sh
echo "$(basename "$0") $* [$APT_CONFIG]" >> {log}
case "$(basename "$0") $*" in
*indextargets*--no-release-info*) cat {folder}/mirrors-without-lists ;;
*indextargets*) cat {folder}/mirrors ;;
*update*)
    count=$(cat {folder}/updates 2>/dev/null || echo 0); echo $((count + 1)) > {folder}/updates
    if [ "$count" -lt "$(cat {folder}/bad-updates)" ]; then
        echo "E: Failed to fetch http://mirror.invalid: Temporary failure resolving" >&2; exit 100
    fi ;;
*policy*) cat {folder}/policy ;;
*--simulate*)
    cat {folder}/simulated
    [ -s {folder}/simulated ] || {{ echo "E: Unable to locate package tool" >&2; exit 100; }} ;;
*pkgnames*) grep "^$2" {folder}/pkgnames; true ;;
*madison*) if [ "$APT_CONFIG" ]; then cat {folder}/madison; else cat {folder}/host-madison; fi ;;
*download*)
    if [ -e {folder}/no-download ]; then echo "E: 404 Not Found" >&2; exit 100; fi
    case $* in *tool=1:1) version=1%3a1 ;; *) version=1%3a2 ;; esac
    cp {folder}/package.deb "./tool_${{version}}_amd64.deb" ;;
esac
"""
MADISON = """\
      tool |        1:2 | http://one.invalid/debian bookworm/main amd64 Packages
      tool |        1:1 | http://one.invalid/debian bookworm/main amd64 Packages
      tool |        1:1 | http://two.invalid/debian bookworm/main amd64 Packages
      tool |        1:3 | http://one.invalid/debian bookworm/main Sources
"""
POLICY = "tool:\n  Installed: (none)\n  Candidate: 1:2\n"


class FakeApt:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        for program in ("apt-get", "apt-cache"):
            path = folder / "bin" / program
            path.parent.mkdir(exist_ok=True)
            path.write_text(SCRIPT.format(folder=folder, log=self.log))
            path.chmod(0o755)
        self.says("mirrors", "http://one.invalid/debian|bookworm|main|Debian\n")
        self.says("mirrors-without-lists", "")
        self.says("bad-updates", "0")
        self.says("policy", POLICY)
        self.says("simulated", "Inst tool (1:2 Debian:12/oldstable [amd64])\nConf tool (1:2)\n")
        self.says("madison", MADISON)
        self.says("host-madison", "")
        self.says("pkgnames", "")
        build_package(folder)

    def says(self, what: str, text: str) -> None:
        (self.folder / what).write_text(text)

    def calls(self, word: str) -> int:
        lines = self.log.read_text().splitlines()
        return sum(word in line.partition(" [")[0] for line in lines)


def build_package(folder: Path, depends: str = "libc6 (>= 2), a | b, linux-image-x:any") -> None:
    tree = folder / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        f"Package: tool\nVersion: 1:2\nArchitecture: amd64\nMaintainer: x <x@invalid>\n"
        f"Depends: {depends}\nDescription: x\n"
    )
    (tree / "usr").mkdir()
    (tree / "usr" / "tool").write_text("tool")
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-b", str(tree), str(folder / "package.deb")],
        check=True, capture_output=True,
    )  # fmt: skip


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeApt:
    fake = FakeApt(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setattr(apt, "_RETRY_SECONDS", 0.01)
    return fake


def fetch(tmp_path: Path, version: str | None = None) -> apt.Package:
    return fetch_package("tool", "bookworm", "amd64", tmp_path / "cache", silent, version)


def test_a_package_is_downloaded_once_and_unpacked(fake: FakeApt, tmp_path: Path) -> None:
    package = fetch(tmp_path)
    assert (package.version, package.identity) == ("1:2", "tool 1:2")
    assert package.file.name == "tool_1%3a2_amd64.deb"
    assert fetch(tmp_path) == package
    assert fake.calls("download") == 1
    assert fake.calls("update") == 1
    unpack(package, tmp_path / "out")
    assert (tmp_path / "out" / "usr" / "tool").read_text() == "tool"
    assert dependencies(package) == ["libc6", "a", "linux-image-x"]


def test_the_host_s_apt_is_left_alone(fake: FakeApt, tmp_path: Path) -> None:
    fetch(tmp_path)
    config = tmp_path / "cache" / "apt" / "bookworm-amd64" / "apt.conf"
    for line in fake.log.read_text().splitlines():
        assert "indextargets" in line or f"[{config}]" in line
    sources = config.with_name("sources.list").read_text()
    assert "http://one.invalid/debian bookworm main" in sources
    assert "arch=amd64" in sources


def test_a_damaged_download_is_fetched_again(fake: FakeApt, tmp_path: Path) -> None:
    package = fetch(tmp_path)
    package.file.write_bytes(b"damaged")
    assert fetch(tmp_path) == package
    assert fake.calls("download") == 2
    record = package.file.with_name("tool.json")
    record.write_text("{")
    assert fetch(tmp_path) == package
    assert json.loads(record.read_bytes())["version"] == "1:2"


def test_a_mirror_that_fails_for_a_moment_is_asked_again(fake: FakeApt, tmp_path: Path) -> None:
    fake.says("bad-updates", "2")
    assert fetch(tmp_path).version == "1:2"
    assert fake.calls("update") == 3


def test_no_network_is_told_after_a_few_tries(fake: FakeApt, tmp_path: Path) -> None:
    fake.says("bad-updates", "99")
    with pytest.raises(PackageUnavailableError, match="Temporary failure resolving") as caught:
        fetch(tmp_path)
    assert caught.value.exit_code == ExitCode.INFRASTRUCTURE
    assert "bookworm for amd64" in str(caught.value)
    assert "name another suite in the target, add a mirror" in str(caught.value)
    assert fake.calls("update") == 3
    assert fake.calls("download") == 0


def test_the_next_mirror_is_tried(fake: FakeApt, tmp_path: Path) -> None:
    fake.says(
        "mirrors",
        "http://other.invalid|stable|main|Docker\n"
        "http://security.invalid|bookworm-security|main|Debian\n"
        "http://one.invalid|bookworm|main|Debian\n"
        "http://one.invalid|bookworm|contrib|Debian\n",
    )
    fake.says("bad-updates", "3")
    fetch(tmp_path)
    sources = tmp_path / "cache" / "apt" / "bookworm-amd64" / "sources.list"
    assert "security.invalid" in sources.read_text(), "Debian's own come first"


@pytest.mark.parametrize("policy", ["", "tool:\n  Candidate: (none)\n"])
def test_a_package_that_has_gone(fake: FakeApt, tmp_path: Path, policy: str) -> None:
    fake.says("policy", policy)
    fake.says("madison", "")
    with pytest.raises(PackageUnavailableError, match=r"bookworm has no package tool \(any more\)"):
        fetch(tmp_path)


def test_where_else_a_package_is_that_has_gone(fake: FakeApt, tmp_path: Path) -> None:
    fake.says("policy", "")
    fake.says("madison", "")
    fake.says("host-madison", MADISON.replace("bookworm", "trixie"))
    fake.says("pkgnames", "tool-7\ntool-6\n")
    with pytest.raises(PackageUnavailableError) as caught:
        fetch(tmp_path)
    assert str(caught.value) == (
        "the suite bookworm has no package tool (any more), but tool-6, tool-7 (of the suites in "
        "this host's own apt sources, trixie has 1:2, 1:1): name another package in the target, "
        "or build the kernel from a tree of your own: docs/kernels.md, --source"
    )


def test_a_misspelt_package_comes_with_those_named_alike(fake: FakeApt, tmp_path: Path) -> None:
    fake.says("policy", "")
    fake.says("madison", "")
    there = [f"gnumach-image-1.8-{n}" for n in ("486", "486-smp-dbg", "amd64", "amd64-smp-dbg")]
    fake.says("pkgnames", "".join(f"{name}\n" for name in (*there, "gnumach-dev")))
    for misspelt, near in (
        ("gnumach-image-1.8-amd64-smp-dgb", r"but gnumach-image-1\.8-amd64-smp-dbg: "),
        ("gnumach-image-1.8-arm64", f"but {', '.join(there)}: "),
        ("nothing-like-that", r"\(any more\): "),
    ):
        with pytest.raises(PackageUnavailableError, match=near):
            fetch_package(misspelt, "sid", "amd64", tmp_path / "cache", silent)


def test_versions_are_kept_side_by_side(fake: FakeApt, tmp_path: Path) -> None:
    newest = fetch(tmp_path)
    pinned = fetch(tmp_path, "1:1")
    assert (newest.version, pinned.version) == ("1:2", "1:1")
    assert pinned.file != newest.file
    assert fetch(tmp_path, "1:1") == pinned
    assert fetch(tmp_path, "1:2") == fetch(tmp_path) == newest
    assert fake.calls("download") == 2


def test_a_version_that_no_suite_has(fake: FakeApt, tmp_path: Path) -> None:
    fake.says("host-madison", MADISON.replace("bookworm", "trixie"))
    with pytest.raises(PackageUnavailableError) as caught:
        fetch(tmp_path, "1:9")
    assert str(caught.value) == (
        "the suite bookworm has tool in version 1:2, 1:1, not in 1:9 (of the suites in this "
        "host's own apt sources, trixie has 1:2, 1:1): name one of these, or build the kernel "
        "from a tree of your own: docs/kernels.md, --source"
    )
    assert fake.calls("download") == 0


def test_a_download_that_fails(fake: FakeApt, tmp_path: Path) -> None:
    fake.says("no-download", "")
    with pytest.raises(InfrastructureError, match="404 Not Found"):
        fetch(tmp_path)
    (tmp_path / "no-download").unlink()
    assert fetch(tmp_path).version == "1:2"


def test_a_host_that_never_ran_apt_get_update(fake: FakeApt, tmp_path: Path) -> None:
    fake.says("mirrors", "")
    fake.says("mirrors-without-lists", "http://one.invalid/debian|bookworm|main|$(ORIGIN)\n")
    assert fetch(tmp_path).version == "1:2"


def test_a_host_without_sources(fake: FakeApt, tmp_path: Path) -> None:
    fake.says("mirrors", "")
    with pytest.raises(InfrastructureError, match="name no Debian mirror"):
        fetch(tmp_path)


def test_a_host_without_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InfrastructureError, match=r"apt-get is not installed: .*Debian host"):
        fetch(tmp_path)


def test_ctrl_c_during_a_download_is_an_interrupt(fake: FakeApt, tmp_path: Path) -> None:
    (tmp_path / "bin" / "apt-get").write_text(
        f"#!/bin/sh\nkill -{int(signal.SIGINT)} $$\nsleep 1\n"
    )
    with pytest.raises(KeyboardInterrupt):
        fetch(tmp_path)


def test_two_at_once_download_once(fake: FakeApt, tmp_path: Path) -> None:
    script = (tmp_path / "bin" / "apt-get").read_text()
    (tmp_path / "bin" / "apt-get").write_text(
        script.replace("*download*)", "*download*) sleep 0.3")
    )
    got: list[apt.Package] = []
    threads = [threading.Thread(target=lambda: got.append(fetch(tmp_path))) for _ in range(3)]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    for thread in threads:
        thread.join(20)
    assert len(got) == 3
    assert len(set(got)) == 1
    assert fake.calls("download") == 1


def test_packages_come_with_what_they_depend_on(fake: FakeApt, tmp_path: Path) -> None:
    folder = tmp_path / "into"
    folder.mkdir()
    (package,) = download_with_dependencies(
        ["tool"], "bookworm", "amd64", folder, tmp_path / "cache", silent
    )
    assert (package.name, package.version) == ("tool", "1:2")
    assert package.file.parent == folder
    assert fake.calls("--no-install-recommends tool") == 1
    assert fake.calls("download tool=1:2") == 1


def test_a_name_that_cannot_be_resolved_is_told(fake: FakeApt, tmp_path: Path) -> None:
    fake.says("simulated", "")
    with pytest.raises(PackageUnavailableError, match=r"tool and more of bookworm.*Unable to"):
        download_with_dependencies(
            ["tool", "more"], "bookworm", "amd64", tmp_path, tmp_path / "cache", silent
        )
