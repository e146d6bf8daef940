# SPDX-License-Identifier: BSD-2-Clause
"""Waiting for a processor is told from sleeping."""

import os
import subprocess
import sys
import time

from harness.qemu.starvation import Starvation

_SPIN = "import os; os.sched_setaffinity(0, {%d}); print('on', flush=True)\nwhile True: pass"


def test_threads_that_share_a_processor_wait_for_each_other() -> None:
    cpu = min(os.sched_getaffinity(0))
    command = [sys.executable, "-c", _SPIN % cpu]
    rivals = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(3)]
    try:
        for rival in rivals:
            assert rival.stdout is not None
            rival.stdout.readline()
        starved = Starvation(rivals[0].pid)
        waited, started = 0.0, time.monotonic()
        while waited < 0.05 and time.monotonic() - started < 30:
            time.sleep(0.1)
            waited += starved.waited()
        assert waited >= 0.05
    finally:
        for rival in rivals:
            rival.kill()
            rival.communicate()


def test_a_sleeper_waits_for_nothing() -> None:
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        starved = Starvation(sleeper.pid)
        deadline = time.monotonic() + 30
        quiet = False
        # it must get a processor, more than once on a loaded host, until it has come to its sleep
        while not quiet and time.monotonic() < deadline:
            time.sleep(0.3)
            quiet = starved.waited() == 0.0 and not starved.is_waiting()
        assert quiet
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_process_that_is_gone_has_waited_for_nothing() -> None:
    starved = Starvation(2**30)
    assert starved.waited() == 0.0
    assert not starved.is_waiting()
