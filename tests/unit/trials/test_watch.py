# SPDX-License-Identifier: BSD-2-Clause
"""What a trial keeps of a workload's lines."""

import json
from types import SimpleNamespace
from typing import cast

from harness.qemu.guest import RunningGuest
from harness.trials.arm import PreparedArm
from harness.trials.watch import Watch


def watch() -> Watch:
    arm = SimpleNamespace(system="linux", symptoms=(), has_holds=False)
    guest = SimpleNamespace(process=SimpleNamespace(cpu_seconds=lambda: 0.0))
    return Watch(cast(PreparedArm, arm), cast(RunningGuest, guest))


def line(event: str, **fields: object) -> bytes:
    return json.dumps({"event": event, "t": 0.5} | fields).encode() + b"\n"


def test_the_last_heartbeat_is_kept_where_the_workload_never_ends() -> None:
    seen = watch()
    seen.on_output(line("start", pid=1))
    seen.on_output(line("heartbeat", operations=1, pgmigrate_fail=3))
    seen.on_output(line("heartbeat", operations=2, pgmigrate_fail=7))
    seen.on_output(line("attempt", n=1, outcome="survived"))
    assert seen.last_fields == {"operations": 2, "pgmigrate_fail": 7}


def test_the_workloads_own_totals_are_kept_where_it_ends() -> None:
    seen = watch()
    seen.on_output(line("heartbeat", operations=1))
    seen.on_output(line("done", operations=9))
    assert seen.last_fields == {"operations": 9}
