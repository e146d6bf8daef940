# SPDX-License-Identifier: BSD-2-Clause
"""`harness shell`: one command with its status, and a prompt for a person."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pexpect
import pytest
from running import PROJECT, Harness

pytestmark = [pytest.mark.guest, pytest.mark.timeout(120)]


def test_a_command_s_output_and_status(harness: Harness) -> None:
    done = harness.run("shell", "--kernel", "buggy", "--", "uname", "-r")
    assert (done.status, done.out) == (0, "5.10.0-32-cloud-amd64\n"), done.err
    assert harness.no_qemu_within()


def test_a_failing_command_and_much_output(harness: Harness) -> None:
    done = harness.run(
        "shell", "linux-x86_64", "--", "seq 1 20000; lsmod | grep -c zram; cat /proc/swaps; exit 42"
    )
    assert done.status == 42
    lines = done.out.splitlines()
    assert lines[:20000] == [str(n) for n in range(1, 20001)]
    assert "zram0" in done.out


def test_an_unknown_kernel_is_a_usage_error(harness: Harness) -> None:
    done = harness.run("shell", "--kernel", "bugy", "--", "true")
    assert done.status == 2
    assert "no kernel 'bugy'" in done.err
    assert "it has: buggy, fixed" in done.err


def test_a_prompt_for_a_person(harness: Harness) -> None:
    child = pexpect.spawn(
        sys.executable, ["-c", "from harness.cli import main; main()", "shell"],
        env=os.environ | {"PYTHONPATH": str(PROJECT), "TERM": "dumb"},
        timeout=60, encoding="utf-8", dimensions=(33, 101),
    )  # fmt: skip
    child.expect("the guest is ready")
    child.expect("# ")
    child.sendline("echo $((6 * 7)); tty; stty size")
    child.expect(r"\s42\s")
    child.expect("/dev/pts/0")
    child.expect("33 101")
    child.sendline("sleep 100")
    child.expect("sleep 100\r\n")
    time.sleep(1)  # until the shell has started it
    child.sendintr()  # reaches the guest's command, not the harness
    child.expect("# ")
    child.sendline("echo still here")
    child.expect("still here.*still here")
    child.sendline("exit 5")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 5


@pytest.mark.parametrize("source", ["pipe", "file", "nothing"])
def test_a_script_instead_of_a_person(source: str, tmp_path: Path) -> None:
    script = tmp_path / "script"
    # more than a terminal's buffer: nothing may be lost
    lines = "".join(f"x=$((x + {n}))\n" for n in range(1, 401))
    script.write_text(f"{lines}echo sum $x\nexit 9\n")
    command = [sys.executable, "-c", "from harness.cli import main; main()", "shell"]
    how: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 100, "check": False}
    how["env"] = os.environ | {"PYTHONPATH": str(PROJECT)}
    if source == "pipe":
        done = subprocess.run(command, input=script.read_text(), **how)
    elif source == "file":
        with script.open() as file:
            done = subprocess.run(command, stdin=file, **how)
    else:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, **how)
        assert done.returncode == 0, done.stderr
        return
    assert "sum 80200" in done.stdout
    assert done.returncode == 9
