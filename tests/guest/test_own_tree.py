# SPDX-License-Identifier: BSD-2-Clause
"""A target on a real kernel tree of the user's own: unpacked, patched, built and reproduced."""

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


def test_a_tarball_of_the_user_s_own(harness: Harness, tmp_path: Path) -> None:
    """The target's patch brings the bug, and its switch at boot tells the arms of one binary."""
    if missing := missing_packages("gcc", architecture("x86_64")):
        pytest.skip(f"a kernel cannot be built here: {', '.join(missing.values())} missing")
    if shutil.which("dpkg-deb") is None:
        pytest.skip("no dpkg-deb on this host")
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
