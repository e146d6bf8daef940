# SPDX-License-Identifier: BSD-2-Clause
"""`harness run`: a kernel file, a plain C reproducer and an initramfs of the user's own."""

import json
import shutil
from pathlib import Path

import pytest
from running import PROJECT, Harness

from harness.kernels.toolchain import compile_static
from harness.paths import cache_folder
from harness.plan.kernel import KernelRecipe
from harness.plan.load import load_guest
from harness.systems.linux import cpio
from harness.systems.linux.system import Linux

pytestmark = [pytest.mark.guest, pytest.mark.timeout(900)]

REPRODUCER = """\
/* crashes the kernel by its own trigger, for every seed that ends in an even digit */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

__attribute__((noinline)) void about_to_crash(void) { __asm__ volatile("nop"); }

int main(int argc, char **argv)
{
\tint fd = open("/proc/sysrq-trigger", O_WRONLY);

\tprintf("argument %s, seed %s\\n", argc > 1 ? argv[1] : "none", getenv("HARNESS_SEED"));
\tfflush(stdout);
\tabout_to_crash();
\tif (atol(getenv("HARNESS_SEED")) % 2)
\t\treturn 0;
\treturn write(fd, "c", 1) != 1;
}
"""
INIT = """\
#include <stdio.h>
#include <sys/reboot.h>
#include <unistd.h>

int main(void)
{
\tprintf("my own init is here\\n");
\tfflush(stdout);
\tsleep(1);
\treboot(RB_POWER_OFF);
}
"""

SILENT_RESET = """\
#include <sys/io.h>
#include <unistd.h>

int main(void)
{
\tsleep(1);
\tif (ioperm(0x64, 1, 1) == 0)
\t\toutb(0xfe, 0x64);
\tpause();
}
"""
"""The keyboard controller's reset line, which the kernel does not hear of."""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bzImage as a user has it: a file, without modules."""
    guest = load_guest(PROJECT, "linux-x86_64").model
    assert guest.kernel is not None
    recipe = KernelRecipe(**guest.kernel.model_dump())
    found = Linux().acquire_kernel(recipe, guest, PROJECT, cache_folder(), print)
    return Path(shutil.copy(found.image, tmp_path_factory.mktemp("own") / "bzImage"))


def test_a_plain_reproducer_on_a_kernel_of_the_user_s(
    harness: Harness, kernel: Path, tmp_path: Path
) -> None:
    source = tmp_path / "repro.c"
    source.write_text(REPRODUCER)
    done = harness.run(
        "run", "--kernel", str(kernel), "--workload", str(source), "--arg", "a word",
        "--failpoint", "workload:about_to_crash=delay(20000)", "--trials", "6", "--seconds", "30",
        "--seed", "5", "--json", seconds=600,
    )  # fmt: skip
    summary = done.document["arms"]["run"]
    trials = [json.loads(text) for text in harness.finished().values()]
    even = [trial["seed"] % 2 == 0 for trial in trials]
    assert [trial["verdict"] == "reproduced" for trial in trials] == even
    assert summary["trials"] == 6 and summary["reproduced"] == sum(even)
    assert 0 < sum(even) < 6  # of the campaign's seed above
    assert summary["rate_low"] < summary["rate"] < summary["rate_high"]
    assert done.document["claim"] == "seen"
    assert done.status == 1, done.err
    assert f"seen in {sum(even)} of 6 trials" in done.err
    (campaign,) = harness.campaigns()
    first = campaign / "trials" / "run-0001"
    seed = json.loads((first / "trial.json").read_text())["seed"]
    assert (first / "output.log").read_text() == f"argument a word, seed {seed}\n"
    held = json.loads((first / "trial.json").read_text())["failpoints"]["failpoint-1"]
    assert held["entered"] == 1 and held["longest_s"] >= 0.02
    crashed = next(trial for trial in trials if trial["verdict"] == "reproduced")
    assert "sysrq" in crashed["reason"] and crashed["reports"]

    again = harness.run("replay", str(campaign / "trials" / f"run-{crashed['number']:04d}"))
    assert again.status == 0, again.err
    assert "now: reproduced" in again.err


def test_another_crash_than_asked_for_is_no_answer(harness: Harness, kernel: Path) -> None:
    done = harness.run(
        "run", "--kernel", str(kernel), "--command", "echo c > /proc/sysrq-trigger",
        "--crash", "KASAN", "--trials", "1", "--json", seconds=300,
    )  # fmt: skip
    assert done.status == 3, done.err
    assert done.document["arms"]["run"]["crashed"] == 1


def test_commands_that_print_fail_end_or_do_not(harness: Harness) -> None:
    def verdict(*options: str) -> tuple[int, str]:
        done = harness.run("run", "--trials", "1", *options, seconds=300)
        (newest,) = sorted(harness.campaigns()[-1].glob("trials/*/trial.json"))
        return done.status, json.loads(newest.read_text())["reason"]

    assert verdict("--command", "exit 3")[0] == 1
    status, reason = verdict("--symptom", "found [0-9]", "--command", "echo found 3; sleep 99")
    assert (status, reason) == (1, "output found [0-9]: found 3")
    assert verdict("--command", "sleep 99", "--seconds", "1")[0] == 0
    status, reason = verdict("--command", "sleep 99", "--seconds", "1", "--must-end")
    assert status == 1 and "not ended" in reason


def test_a_place_in_a_module(harness: Harness) -> None:
    done = harness.run(
        "run", "--modules", "lzo_rle,zram", "--setup", "echo 800K > /sys/block/zram0/disksize",
        "--failpoint", "zram!zram_free_page:after(zs_free)=delay(1000)", "--trials", "2",
        # what is written over is freed: ten pages, two times
        "--command", "for i in 1 2 3; do dd if=/dev/urandom of=/dev/zram0 bs=4k count=10; done",
        seconds=300,
    )  # fmt: skip
    assert done.status == 0, done.err
    for text in harness.finished().values():
        held = json.loads(text)["failpoints"]["failpoint-1"]
        assert held["delayed"] == 20


def test_an_initramfs_of_the_user_s(harness: Harness, tmp_path: Path) -> None:
    (tmp_path / "init.c").write_text(INIT)
    init = compile_static(tmp_path / "init.c", tmp_path / "cache", "x86_64")
    entries = [
        cpio.folder("dev"),
        cpio.console_device(),
        cpio.file("init", init.read_bytes(), 0o755),
    ]
    (tmp_path / "initrd").write_bytes(cpio.archive(entries))
    boot = ["run", "--initrd", str(tmp_path / "initrd"), "--trials", "1", "--json"]
    for more in ([], ["--dump-memory"]):  # which keeps a guest that has switched itself off
        done = harness.run(*boot, *more, seconds=300)
        assert done.status == 0, done.err
    (tmp_path / "init.c").write_text(SILENT_RESET)
    init = compile_static(tmp_path / "init.c", tmp_path / "cache", "x86_64")
    entries[-1] = cpio.file("init", init.read_bytes(), 0o755)
    (tmp_path / "resets").write_bytes(cpio.archive(entries))
    resets = ["--initrd", str(tmp_path / "resets")]
    done = harness.run(*boot, *resets, "--seed", "1", seconds=300)
    (newest,) = sorted(harness.campaigns()[-1].glob("trials/run-0001/trial.json"))
    record = json.loads(newest.read_text())
    assert (record["verdict"], done.status) == ("void", 4)
    assert "no power-off or restart" in record["reason"]
    done = harness.run(*boot, *resets, "--seed", "1", "--dump-memory", seconds=300)
    assert done.status == 4 and "no power-off or restart" in done.err
    done = harness.run(*boot, "--symptom", "my own init", seconds=300)
    assert done.status == 1, done.err
    console = harness.campaigns()[-1] / "trials" / "run-0001" / "console.log"
    assert b"my own init is here" in console.read_bytes()
