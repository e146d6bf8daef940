# SPDX-License-Identifier: BSD-2-Clause
"""A target on real kernel trees of the user's own: a tarball, and a repository with both arms."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from running import Harness

from harness.files import file_hash
from harness.kernels.apt import fetch_package
from harness.kernels.kbuild.architecture import architecture
from harness.kernels.kbuild.requirements import missing_packages
from harness.kernels.packaged import DEBIAN_ARCHITECTURES
from harness.paths import cache_folder
from harness.progress import silent

SECONDS = 3600
TRIALS = 2
# what Linux 8e47a457321c repaired, as 5.10 would have it without
UNFIXED = (
    (
        "\tattach_page_private(page, iop);\n",
        "\tset_page_private(page, (unsigned long)iop);\n\tSetPagePrivate(page);\n",
    ),
    ("iop = detach_page_private(page);\n", "iop = to_iomap_page(page);\n"),
    (
        "\tWARN_ON_ONCE(atomic_read(&iop->read_bytes_pending));\n",
        "\tClearPagePrivate(page);\n\tset_page_private(page, 0);\n"
        "\tWARN_ON_ONCE(atomic_read(&iop->read_bytes_pending));\n",
    ),
)

pytestmark = [pytest.mark.guest, pytest.mark.slow, pytest.mark.timeout(SECONDS)]


def source_tarball(folder: Path) -> Path:
    """The kernel's sources as the distribution's package has them: a tarball like anybody's."""
    package = fetch_package(
        "linux-source-5.10", "bullseye", DEBIAN_ARCHITECTURES["x86_64"], cache_folder(), silent
    )
    inside = "./usr/src/linux-source-5.10.tar.xz"
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", package.file], stdout=subprocess.PIPE
    ) as reader:
        subprocess.run(
            ["tar", "-x", "-C", folder, "--transform", "s,.*/,,", inside],
            stdin=reader.stdout,
            check=True,
        )
    return folder / Path(inside).name


def require_tools() -> None:
    """Skips where nothing can be built."""
    if missing := missing_packages("gcc", architecture("x86_64")):
        pytest.skip(f"a kernel cannot be built here: {', '.join(missing.values())} missing")
    for tool in ("dpkg-deb", "git"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool} on this host")


def test_a_tarball_of_the_user_s_own(harness: Harness, tmp_path: Path) -> None:
    """The target's patch brings the bug, and its switch at boot tells the arms of one binary."""
    require_tools()
    tarball = source_tarball(tmp_path)
    done = harness.run(
        "repro", "linux-iomap-migrate", "--source", str(tarball), "--trials", str(TRIALS),
        "--seed", "1", "--arms", "buggy,fixed", "--json", seconds=SECONDS,
    )  # fmt: skip
    assert done.out, done.err
    arms = done.document["arms"]
    assert arms["buggy"]["reproduced"] == arms["fixed"]["survived"] == TRIALS
    campaign = json.loads((harness.campaigns()[-1] / "campaign.json").read_text())
    for arm in ("buggy", "fixed"):
        source = campaign["arms"][arm]["kernel_source"]
        assert source == f"tarball {tarball}, SHA-256 {file_hash(tarball)}"


def repository(folder: Path) -> Path:
    """A repository of two commits: `fixed`, and on it `buggy`, the fix taken back in the source."""
    tree = folder / "linux"
    tree.mkdir()
    tarball = source_tarball(folder)
    subprocess.run(["tar", "-xf", tarball, "--strip-components=1", "-C", tree], check=True)
    git(tree, "init", "-q")
    git(tree, "add", "-A", "-f")  # the distribution has all files ignored
    git(tree, "commit", "-q", "-m", "fixed")
    git(tree, "tag", "fixed")
    file = tree / "fs/iomap/buffered-io.c"
    text = file.read_text()
    for old, new in UNFIXED:
        assert text.count(old) == 1
        text = text.replace(old, new)
    file.write_text(text)
    git(tree, "commit", "-q", "-a", "-m", "buggy")
    git(tree, "tag", "buggy")
    return tree


def git(tree: Path, *arguments: str) -> str:
    """git in the tree, as nobody in particular; what it printed."""
    identity = ["-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "gc.auto=0"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=tree, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_two_refs_are_two_builds(harness: Harness, tmp_path: Path) -> None:
    """Without the target's patch: each arm is a commit of a repository, the second incremental."""
    require_tools()
    tree = repository(tmp_path)
    done = harness.run(
        "repro", "linux-iomap-migrate", "--source", f"{tree}@buggy..fixed", "--trials",
        str(TRIALS), "--seed", "1", "--arms", "buggy,fixed", "--json", seconds=SECONDS,
    )  # fmt: skip
    assert done.out, done.err
    arms = done.document["arms"]
    assert arms["buggy"]["symptoms"] == {"freed page in a migration wait": TRIALS}
    assert arms["fixed"]["survived"] == TRIALS
    assert "changed in the source: fs/iomap/buffered-io.c\n" in done.err
    campaign = json.loads((harness.campaigns()[-1] / "campaign.json").read_text())
    for arm in ("buggy", "fixed"):
        assert campaign["arms"][arm]["kernel_commit"] == git(tree, "rev-parse", arm)
