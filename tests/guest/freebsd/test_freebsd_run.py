# SPDX-License-Identifier: BSD-2-Clause
"""`harness run` on FreeBSD: a kernel file of the user's own, and a plain C reproducer."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from configured import NO_SOURCE, SOURCE, freebsd_marks
from running import PROJECT, Done, Harness

from harness.paths import cache_folder
from harness.plan.kernel import KernelRecipe, SourceRecipe
from harness.plan.load import load_guest
from harness.systems.freebsd.system import FreeBSD

pytestmark = freebsd_marks(bool(SOURCE), NO_SOURCE)
REPRODUCER = """\
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/sysctl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
\tchar text[64];
\tsize_t size = sizeof text;
\tint one = 1;

\tprintf("%s, seed %s\\n", argv[1], getenv("HARNESS_SEED"));
\tfflush(stdout);
\tif (!strcmp(argv[1], "die"))
\t\t*(volatile int *)8 = 1;
\tif (!strcmp(argv[1], "panic"))
\t\tsysctlbyname("debug.kdb.panic", NULL, NULL, &one, sizeof one);
\tif (!strcmp(argv[1], "fail point"))
\t\treturn sysctlbyname("debug.fail_point.test_trigger_fail_point", text, &size, NULL,
\t\t\t\t    0) != 0;
\twhile (!strcmp(argv[1], "stay"))
\t\tsleep(1);
\treturn argc > 2 ? atoi(argv[2]) : 0;
}
"""


@pytest.fixture(scope="module", params=["freebsd-amd64", "freebsd-arm64"])
def kernel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options for a guest and a kernel as a build's folder has them."""
    guest = load_guest(PROJECT, request.param).model
    recipe = KernelRecipe(source=SourceRecipe(directory=SOURCE, config=[]))
    built = FreeBSD().acquire_kernel(recipe, guest, Path("/"), cache_folder(), print)
    folder = tmp_path_factory.mktemp("own")
    full = shutil.copy(built.image.with_name("vmlinux"), folder / "kernel.full")
    given = shutil.copy(built.image, folder / "kernel.bin") if guest.arch == "arm64" else full
    return ["--guest", request.param, "--kernel", str(given)]


@pytest.fixture
def repro(tmp_path: Path) -> list[str]:
    (tmp_path / "repro.c").write_text(REPRODUCER)
    return ["--workload", str(tmp_path / "repro.c"), "--arg"]


def trial(harness: Harness) -> tuple[Path, dict[str, Any]]:
    """The folder and the record of the newest campaign's only trial."""
    newest = max(harness.campaigns(), key=lambda campaign: campaign.stat().st_mtime_ns)
    (record,) = newest.glob("trials/*/trial.json")
    return record.parent, json.loads(record.read_text())


def test_how_a_plain_reproducer_ends(harness: Harness, kernel: list[str], repro: list[str]) -> None:
    def run(*options: str) -> Done:
        return harness.run("run", *kernel, "--trials", "1", *options, seconds=600)

    done = run(*repro, "end well")
    assert done.status == 0, done.err
    folder, record = trial(harness)
    assert (folder / "output.log").read_text() == f"end well, seed {record['seed']}\n"

    done = run(*repro, "fail", "--arg", "7")
    assert (done.status, trial(harness)[1]["verdict"]) == (1, "reproduced"), done.err
    assert "ended with status 7" in trial(harness)[1]["reason"]

    done = run(*repro, "die")
    assert done.status == 1 and "signal 11" in trial(harness)[1]["reason"], done.err

    done = run(*repro, "stay", "--seconds", "5", "--must-end")
    assert done.status == 1 and "had not ended" in trial(harness)[1]["reason"], done.err

    done = run("--command", "sysctl kern.osrelease && no-such-command")
    assert done.status == 4, done.err  # five voids: not tested
    assert (
        "not a command of this guest"
        in (harness.campaigns()[-1] / "trials/run-0001/output.log").read_text()
    )


def test_set_up_and_the_kernel_s_environment(harness: Harness, kernel: list[str]) -> None:
    done = harness.run(
        "run", *kernel, "--trials", "1", "--append", "hw.physmem=96M", "--setup", "mdconfig 16",
        "--setup", "swapon /dev/md1", "--command", "sysctl -n hw.physmem vm.swap_total",
        seconds=600,
    )  # fmt: skip
    assert done.status == 0, done.err
    memory, swap = map(int, (trial(harness)[0] / "output.log").read_text().split())
    assert 64 << 20 < memory <= 96 << 20
    assert swap == 16 << 20


def test_a_panic_and_the_kernel_s_debugger(
    harness: Harness, kernel: list[str], repro: list[str]
) -> None:
    done = harness.run(
        "run", *kernel, *repro, "panic", "--trials", "1", "--ddb", "show pcpu", "--ddb", "bt",
        "--crash", "kdb_sysctl_panic", seconds=600,
    )  # fmt: skip
    assert done.status == 1, done.err
    folder, record = trial(harness)
    assert record["symptoms"][0]["name"] == "crash kdb_sysctl_panic"
    assert record["notes"][-1] == "ddb: 2 of 2 commands answered"
    answers = (folder / "ddb.txt").read_text()
    assert "== show pcpu" in answers and "kdb_sysctl_panic" in answers

    again = harness.run("replay", str(folder), seconds=600)
    assert again.status == 0 and "now: reproduced" in again.err, again.err


def test_a_fail_point_of_the_kernel_s_own(
    harness: Harness, kernel: list[str], repro: list[str]
) -> None:
    options = ["run", *kernel, "--trials", "1", *repro, "fail point", "--failpoint"]
    done = harness.run(*options, "sysctl debug.fail_point.test_fail_point=return(5)", seconds=600)
    assert done.status == 1, done.err  # the sysctl runs into it, and tells the error
    settings = trial(harness)[1]["settings"]["failpoint-1"]
    assert (settings["before"], settings["after"]) == ("off", "return(5)")
    assert "status_test_fail_point: return(5)" in settings["status"]

    done = harness.run(*options, "sysctl test_fail_point=off", seconds=600)
    assert done.status == 0, done.err

    trials = len(harness.finished())
    done = harness.run(*options, "sysctl test_fial_point=off", seconds=600)
    assert done.status == 2
    assert "similar: debug.fail_point.test_fail_point" in done.err
    assert len(harness.finished()) == trials
