# SPDX-License-Identifier: BSD-2-Clause
"""control_block.h and layout.py describe the same bytes."""

import shutil
import subprocess
from pathlib import Path

import pytest

from harness.qemu.plugin import layout
from harness.qemu.plugin.build import SOURCES

# What C calls it, and what Python says.
OFFSETS = {
    "offsetof(struct control_block, magic)": layout.AT_MAGIC,
    "offsetof(struct control_block, version)": layout.AT_VERSION,
    "offsetof(struct control_block, header_size)": layout.AT_HEADER_SIZE,
    "offsetof(struct control_block, size)": layout.AT_SIZE,
    "offsetof(struct control_block, ring_capacity)": layout.AT_RING_CAPACITY,
    "offsetof(struct control_block, armed)": layout.AT_ARMED,
    "offsetof(struct control_block, quit)": layout.AT_QUIT,
    "offsetof(struct control_block, plan_wanted)": layout.AT_PLAN_WANTED,
    "offsetof(struct control_block, place_count)": layout.AT_PLACE_COUNT,
    "offsetof(struct control_block, point_count)": layout.AT_POINT_COUNT,
    "offsetof(struct control_block, rule_count)": layout.AT_RULE_COUNT,
    "offsetof(struct control_block, seed)": layout.AT_SEED,
    "offsetof(struct control_block, plan_active)": layout.AT_PLAN_ACTIVE,
    "offsetof(struct control_block, attached_pid)": layout.AT_ATTACHED_PID,
    "offsetof(struct control_block, api_version)": layout.AT_API_VERSION,
    "offsetof(struct control_block, vcpu_count)": layout.AT_VCPU_COUNT,
    "offsetof(struct control_block, target)": layout.AT_TARGET,
    "offsetof(struct control_block, attempt)": layout.AT_ATTEMPT,
    "offsetof(struct control_block, blocks_translated)": layout.AT_BLOCKS_TRANSLATED,
    "offsetof(struct control_block, ring_head)": layout.AT_RING_HEAD,
    "offsetof(struct control_block, places)": layout.AT_PLACES,
    "offsetof(struct control_block, points)": layout.AT_POINTS,
    "offsetof(struct control_block, rules)": layout.AT_RULES,
    "offsetof(struct control_block, rules[1].enabled)": layout.rule(1),
    "offsetof(struct control_block, rule_counters)": layout.AT_RULE_COUNTERS,
    "offsetof(struct control_block, rule_counters[3])": layout.rule_counters(3),
    "offsetof(struct control_block, vcpus)": layout.AT_VCPUS,
    "offsetof(struct control_block, vcpus[5])": layout.vcpu(5),
    "offsetof(struct cb_vcpu, busy)": layout.VCPU_BUSY,
    "offsetof(struct cb_vcpu, held_rule)": layout.VCPU_HELD_RULE,
    "offsetof(struct cb_vcpu, held_since_ns)": layout.VCPU_HELD_SINCE,
    "offsetof(struct cb_vcpu, draws)": layout.VCPU_DRAWS,
    "offsetof(struct cb_vcpu, counts)": layout.VCPU_COUNTS,
    "offsetof(struct cb_vcpu, counts.passes)": layout.VCPU_COUNTS + 8 * layout.MAX_POINTS,
    "offsetof(struct cb_vcpu, at_mark)": layout.VCPU_AT_MARK,
    "offsetof(struct cb_vcpu, at_start)": layout.VCPU_AT_START,
    "offsetof(struct cb_rule_counters, fired)": layout.RULE_COUNTERS.size,
    "offsetof(struct cb_rule, terms)": layout.RULE_HEAD.size,
    "sizeof(struct cb_place)": layout.PLACE.size,
    "sizeof(struct cb_point)": layout.POINT.size,
    "sizeof(struct cb_term)": layout.TERM.size,
    "sizeof(struct cb_rule)": layout.RULE_SIZE,
    "sizeof(struct cb_rule_counters)": layout.RULE_COUNTERS_SIZE,
    "sizeof(struct cb_counts)": layout.COUNTS_SIZE,
    "sizeof(struct cb_vcpu)": layout.VCPU_SIZE,
    "sizeof(struct cb_event)": layout.EVENT.size,
    "sizeof(struct control_block)": layout.HEADER_SIZE,
}
CONSTANTS = {
    "CB_MAGIC": layout.MAGIC,
    "CB_VERSION": layout.VERSION,
    "CB_MAX_VCPUS": layout.MAX_VCPUS,
    "CB_MAX_POINTS": layout.MAX_POINTS,
    "CB_MAX_PLACES": layout.MAX_PLACES,
    "CB_MAX_RULES": layout.MAX_RULES,
    "CB_MAX_TERMS": layout.MAX_TERMS,
    "CB_RULE_WORDS": layout.RULE_WORDS,
    "CB_ALWAYS": layout.ALWAYS,
    "CB_UNLIMITED": layout.UNLIMITED,
    "CB_OFF": layout.OFF,
    "CB_DELAY": layout.DELAY,
    "CB_PAUSE": layout.PAUSE,
    "CB_PRINT": layout.PRINT,
    "CB_YIELD": layout.YIELD,
    "CB_ORDER": layout.ORDER,
    "CB_SINCE_ARRIVAL": layout.SINCE_ARRIVAL,
    "CB_SINCE_MARK": layout.SINCE_MARK,
    "CB_SINCE_START": layout.SINCE_START,
    "CB_PASSES": layout.PASSES,
    "CB_ARRIVALS": layout.ARRIVALS,
    "CB_POINT_MARK": layout.POINT_MARK,
    "CB_POINT_LOG": layout.POINT_LOG,
    "CB_POINT_AWAITED": layout.POINT_AWAITED,
    "CB_EVENT_HOLD": layout.EVENT_HOLD,
    "CB_EVENT_MARK": layout.EVENT_MARK,
    "CB_EVENT_PASS": layout.EVENT_PASS,
    "CB_EVENT_PRINT": layout.EVENT_PRINT,
    "CB_NONE": layout.NONE,
    "CB_REACHED": layout.REACHED,
    "CB_TIMED_OUT": layout.TIMED_OUT,
    "CB_CANCELLED": layout.CANCELLED,
    "CB_DELAYED": layout.DELAYED,
}


def test_both_sides_agree(tmp_path: Path) -> None:
    if shutil.which("cc") is None:
        pytest.skip("no cc on this host")
    expected = OFFSETS | CONSTANTS
    prints = "\n".join(f'printf("%llu\\n", (unsigned long long)({c}));' for c in expected)
    program = tmp_path / "layout.c"
    program.write_text(
        f'#include <stddef.h>\n#include <stdio.h>\n#include "{SOURCES[1]}"\n'
        f"int main(void) {{ {prints} return 0; }}\n"
    )
    subprocess.run(["cc", "-o", str(tmp_path / "layout"), str(program)], check=True, timeout=60)
    output = subprocess.run([str(tmp_path / "layout")], capture_output=True, check=True, timeout=9)
    found = dict(zip(expected, map(int, output.stdout.split()), strict=True))
    assert found == expected
