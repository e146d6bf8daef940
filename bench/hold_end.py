# SPDX-License-Identifier: BSD-2-Clause
"""How long a guest takes to be stopped, or ended, while a virtual CPU of it is held.

    python bench/hold_end.py [--rounds N] [--load PROCESSES] [--qemu BINARY]

Each round holds vCPU 0 of the bare guest in a pause, ends the hold, and stops the guest by QMP;
beside it, the same stop of the same guest with nobody held, which is what QEMU and the host's
scheduler take anyhow. --load adds processes that do nothing but compute. The last line is one JSON
object; times are wall-clock milliseconds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "guest")]

from bare.machine import BareGuest, build_guest, missing_tools, point_addresses  # noqa: E402

from harness.qemu.plugin import (  # noqa: E402
    Action,
    ControlBlock,
    DelayRule,
    PluginPlan,
    Point,
    Term,
    build_plugin,
)

GOAL_MS = 50.0
ENDS = 10
"""Guests that are ended in a hold: each is a boot."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the bench; prints the JSON line at the end."""
    options = parse(arguments)
    reason = missing_tools(options.qemu)
    if reason:
        print(f"cannot run: {reason}", file=sys.stderr)
        return 4
    with tempfile.TemporaryDirectory(prefix="hold-end-") as name, ExitStack() as stack:
        directory = Path(name)
        plugin, bare = build_plugin(directory), build_guest(directory)
        for _ in range(options.load):
            busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            stack.callback(busy.wait)
            stack.callback(busy.kill)
        load = os.getloadavg()[0]
        result = {
            "bench": "hold_end",
            "load_average": round(load, 1),
            **stops(options.qemu, bare, plugin, directory, options.rounds),
            "end": summary([end_once(options.qemu, bare, plugin, directory) for _ in range(ENDS)]),
        }
    print(json.dumps(result))
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--load", type=int, default=0, metavar="PROCESSES")
    parser.add_argument("--qemu", default="qemu-system-x86_64")
    return parser.parse_args(arguments)


def pausing(bare: Path) -> PluginPlan:
    """A plan that holds whoever comes to the guest's first point, until disarmed."""
    address = point_addresses(bare)["probe"]
    rule = DelayRule("hold", "probe", (Term(Action.PAUSE),))
    return PluginPlan((Point("probe", (address,)),), (rule,))


def stops(qemu: str, bare: Path, plugin: Path, directory: Path, rounds: int) -> dict[str, object]:
    """Ending a hold, then QMP's stop; and that stop alone."""
    disarmed, stopped, alone = [], [], []
    with (
        ControlBlock.create(directory / "control", pausing(bare)) as block,
        BareGuest(bare, block.qemu_arguments(plugin), directory, qemu) as guest,
    ):
        for _ in range(rounds):
            block.arm()
            hold(block, guest)
            begin = time.monotonic()
            with block.disarmed():
                disarmed.append(time.monotonic() - begin)
                guest.qmp("stop")
                stopped.append(time.monotonic() - begin)
                guest.qmp("cont")
                guest.result()
                block.disarm()
                begin = time.monotonic()
                guest.qmp("stop")
                alone.append(time.monotonic() - begin)
                guest.qmp("cont")
            block.disarm()
    over = sum(took * 1e3 > GOAL_MS for took in stopped)
    return {
        "rounds": rounds,
        "hold_ended": summary(disarmed),
        "stopped": summary(stopped),
        "stop_without_hold": summary(alone),
        "over_50_ms": over,
    }


def end_once(qemu: str, bare: Path, plugin: Path, directory: Path) -> float:
    """Seconds from the decision to end a guest, held in a pause, to its process's end."""
    with (
        ControlBlock.create(directory / "control", pausing(bare)) as block,
        BareGuest(bare, block.qemu_arguments(plugin), directory, qemu) as guest,
    ):
        block.arm()
        hold(block, guest)
        begin = time.monotonic()
        block.quit()
        guest.process.kill()
        guest.process.wait(timeout=10)
        return time.monotonic() - begin


def hold(block: ControlBlock, guest: BareGuest) -> None:
    """Sends vCPU 0 to the point and waits until it is held."""
    guest.send("a", 1)
    deadline = time.monotonic() + 30
    while not block.statistics().held:
        if time.monotonic() > deadline:
            raise TimeoutError("vCPU 0 does not come to the point")
        time.sleep(0.001)


def summary(seconds: Sequence[float]) -> dict[str, float]:
    """Median, 90th percentile and longest, in milliseconds."""
    ordered = sorted(took * 1e3 for took in seconds)
    return {
        "median_ms": round(statistics.median(ordered), 2),
        "p90_ms": round(ordered[int(0.9 * (len(ordered) - 1))], 2),
        "longest_ms": round(ordered[-1], 2),
    }


if __name__ == "__main__":
    sys.exit(main())
