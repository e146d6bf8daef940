# SPDX-License-Identifier: BSD-2-Clause
"""Tests of hooks and fault injection, over a folder that stands for the guest's debugfs."""

import asyncio
import subprocess
from pathlib import Path

import pytest

from harness.console.guest_channel import CommandResult
from harness.errors import ConfigurationError
from harness.failpoints.grammar import parse_setting
from harness.failpoints.inside import FaultInjection, HookFailpoint, Reading

KNOBS = {"probability": "0", "interval": "1", "times": "1", "space": "0", "verbose": "2"}


class Folder:
    """Runs commands in a shell, with debugfs and /sys/block below a folder of files."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def file(self, name: str) -> Path:
        return self.root / "sys/kernel/debug" / name

    def write(self, name: str, text: str) -> None:
        self.file(name).parent.mkdir(parents=True, exist_ok=True)
        self.file(name).write_text(f"{text}\n")

    def read(self, name: str) -> str:
        return self.file(name).read_text().strip()

    async def run(self, command: str) -> CommandResult:
        command = command.replace("/sys/", f"{self.root}/sys/")
        done = subprocess.run(
            ["sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        return CommandResult(done.returncode, done.stdout)


@pytest.fixture
def guest(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path)
    for capability in ("failslab", "fail_function", "fail_make_request"):
        for knob, value in KNOBS.items():
            folder.write(f"{capability}/{knob}", value)
    folder.write("failslab/task-filter", "N")
    folder.write("failslab/ignore-gfp-wait", "Y")
    for name in ("swapin_read", "mkdir"):
        folder.write(f"fail_point/{name}", "off")
        folder.write(f"fail_point/status_{name}", "evaluated 7\nfired 3\nheld 1\nspun 0\nwhere x")
    return folder


def slab(do: str, **more: object) -> FaultInjection:
    return FaultInjection("no-memory", "failslab", parse_setting(do), **more)  # type: ignore[arg-type]


def test_fail9_becomes_knobs_and_they_are_put_back(guest: Folder) -> None:
    point = slab("5%3*return", knobs={"ignore-gfp-wait": False, "space": 4096})
    before = asyncio.run(point.set(guest))
    names = ("probability", "times", "space", "ignore-gfp-wait", "verbose")
    found = {name: guest.read(f"failslab/{name}") for name in names}
    assert found == {
        "probability": "5", "times": "3", "space": "4096", "ignore-gfp-wait": "N", "verbose": "0",
    }  # fmt: skip
    assert before.setting == "probability=0 interval=1 times=1 space=0"
    guest.write("failslab/times", "1")
    assert asyncio.run(point.read(guest)).counters == {"fired": 2}
    asyncio.run(point.reset(guest, before))
    assert {name: guest.read(f"failslab/{name}") for name in KNOBS} == KNOBS
    assert guest.read("failslab/ignore-gfp-wait") == "Y"


def test_without_a_count_the_largest_one_counts(guest: Folder) -> None:
    point = slab("return")
    asyncio.run(point.set(guest))
    assert (guest.read("failslab/probability"), guest.read("failslab/times")) == (
        "100", "2147483647",
    )  # fmt: skip
    assert asyncio.run(point.read(guest)).counters == {"fired": 0}


def test_only_the_workload_is_marked(guest: Folder) -> None:
    point = slab("1%return", only_workload=True)
    asyncio.run(point.set(guest))
    assert guest.read("failslab/task-filter") == "Y"
    assert point.workload_command("exec /workload") == (
        "echo 1 > /proc/self/make-it-fail; exec /workload"
    )
    assert slab("1%return").workload_command("exec /workload") == "exec /workload"


@pytest.mark.parametrize(
    ("point", "knobs", "says"),
    [
        ("failslap", {}, "no fault injection 'failslap'; similar: failslab"),
        ("failslab", {"min-order": 1}, "no knob of failslab 'min-order'"),
        ("failslab:kmalloc", {}, "names a function"),
        ("fail_function", {}, "names a function"),
    ],
)
def test_a_wrong_name_is_an_error(
    guest: Folder, point: str, knobs: dict[str, int | str | bool], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        asyncio.run(FaultInjection("x", point, parse_setting("return"), knobs).set(guest))


@pytest.mark.parametrize(
    ("do", "more", "says"),
    [
        ("return(5)", {}, "fails in its own way"),
        ("1*return->return", {}, "one term"),
        ("return", {"knobs": {"times": 3}}, "follow from `do`"),
        ("return", {"devices": ("zram0",)}, "are for fail_make_request"),
    ],
)
def test_what_it_cannot_say_is_refused(do: str, more: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        slab(do, **more)


def test_a_function_gets_its_value(guest: Folder) -> None:
    guest.write("error_injection/list", "x ERRNO\nopen_ctree ERRNO")
    guest.write("fail_function/open_ctree/retval", "0")
    guest.write("fail_function/inject", "")
    point = FaultInjection("x", "fail_function:open_ctree", parse_setting("return(-12)"))
    asyncio.run(point.set(guest))
    assert guest.read("fail_function/inject") == "open_ctree"
    assert guest.read("fail_function/open_ctree/retval") == "0xfffffffffffffff4"
    asyncio.run(point.reset(guest, Reading("")))
    assert guest.read("fail_function/inject") == "!open_ctree"


def test_devices_are_marked(guest: Folder) -> None:
    switch = guest.root / "sys/block/zram0/make-it-fail"
    switch.parent.mkdir(parents=True)
    switch.write_text("0\n")
    point = FaultInjection("x", "fail_make_request", parse_setting("return"), devices=("zram0",))
    before = asyncio.run(point.set(guest))
    assert switch.read_text() == "1\n"
    asyncio.run(point.reset(guest, before))
    assert switch.read_text() == "0\n"


def test_a_hook_is_set_read_and_reset(guest: Folder) -> None:
    hook = HookFailpoint("slow", "swapin_read", parse_setting(".5%3*sleep(10)->off"))
    before = asyncio.run(hook.set(guest))
    assert before.setting == "off"
    assert guest.read("fail_point/swapin_read") == ".5%3*sleep(10)->off"
    guest.write("fail_point/swapin_read", "0.5%2*sleep(10)")  # the kernel's way of writing it
    now = asyncio.run(hook.read(guest))
    assert now.setting == "0.5%2*sleep(10)"
    assert now.counters == {"evaluated": 7, "fired": 3, "held": 1, "spun": 0}
    asyncio.run(hook.reset(guest, before))
    assert guest.read("fail_point/swapin_read") == "off"


def test_an_unknown_hook_is_an_error(guest: Folder) -> None:
    hook = HookFailpoint("slow", "swapin_reed", parse_setting("off"))
    with pytest.raises(ConfigurationError, match="no hook 'swapin_reed'; similar: swapin_read"):
        asyncio.run(hook.set(guest))


def test_a_kernel_without_hooks_is_an_error(tmp_path: Path) -> None:
    hook = HookFailpoint("slow", "x", parse_setting("off"))
    with pytest.raises(ConfigurationError, match="only one built from source with `hooks`"):
        asyncio.run(hook.set(Folder(tmp_path)))


class Passing(Folder):
    """A hook that is passed before it is read back."""

    left = ""

    async def run(self, command: str) -> CommandResult:
        done = await super().run(command)
        if command.startswith("echo"):
            self.write("fail_point/mkdir", self.left)
        return done


@pytest.mark.parametrize(
    ("asked", "left", "same"),
    [
        ("3*return(5)", "1*return(5)", True),
        ("3*return(5)", "off", True),
        ("2*return(1)->return(5)", "return(5)", True),
        ("2*off->4*sleep(1)", "4*sleep(1)", True),
        ("3*return(5)", "4*return(5)", False),
        ("3*return(5)", "return(5)", False),
        ("return(5)", "off", False),
        ("3*return(5)", "1*return(6)", False),
    ],
)
def test_what_is_left_of_a_setting_is_no_other(
    guest: Folder, asked: str, left: str, same: bool
) -> None:
    passing = Passing(guest.root)
    passing.left = left
    hook = HookFailpoint("x", "mkdir", parse_setting(asked))
    if same:
        asyncio.run(hook.set(passing))
    else:
        with pytest.raises(ConfigurationError, match=r"it reads"):
            asyncio.run(hook.set(passing))


def test_a_hook_that_somebody_else_sets_is_noticed(guest: Folder) -> None:
    class Racing(Folder):
        async def run(self, command: str) -> CommandResult:
            done = await super().run(command)
            if command.startswith("echo"):
                self.write("fail_point/mkdir", "return(1)")
            return done

    hook = HookFailpoint("x", "mkdir", parse_setting("return(5)"))
    with pytest.raises(ConfigurationError, match=r"set to `return\(5\)`, it reads `return\(1\)`"):
        asyncio.run(hook.set(Racing(guest.root)))
