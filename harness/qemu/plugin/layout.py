# SPDX-License-Identifier: BSD-2-Clause
"""The control block's layout: control_block.h for Python; a unit test compares the two."""

import struct

MAGIC = 0x4B434F4C42505446
VERSION = 1

MAX_VCPUS = 64
MAX_POINTS = 128
MAX_PLACES = 512
MAX_RULES = 128
MAX_TERMS = 16
RULE_WORDS = MAX_RULES // 64

ALWAYS = 1_000_000
UNLIMITED = 0
NO_RULE = 0xFFFFFFFF
MAX_DURATION_US = 10**12
"""Eleven days: a hold's nanoseconds added to the clock's stay far from 64 bits."""

OFF, DELAY, PAUSE, PRINT, YIELD, ORDER = range(6)
SINCE_ARRIVAL, SINCE_MARK, SINCE_START = range(3)
PASSES, ARRIVALS = range(2)
POINT_MARK, POINT_LOG, POINT_AWAITED = 1, 2, 4
EVENT_HOLD, EVENT_MARK, EVENT_PASS, EVENT_PRINT = range(1, 5)
NONE, REACHED, TIMED_OUT, CANCELLED, DELAYED = range(5)

PLACE = struct.Struct("=QII")
POINT = struct.Struct(f"=II{RULE_WORDS}Q8x")
TERM = struct.Struct("=QQQIHH")
RULE_HEAD = struct.Struct("=IIQQQQQIHHI4x")
RULE_SIZE = RULE_HEAD.size + MAX_TERMS * TERM.size
EVENT = struct.Struct("=8Q")

RULE_COUNTERS_SIZE = 256
RULE_COUNTERS = struct.Struct("=9Q")  # evaluated ... attempt_fired; fired[] follows
COUNTS_SIZE = 2 * MAX_POINTS * 8  # arrivals, then passes
VCPU_HEAD_SIZE = 64
VCPU_DRAWS = VCPU_HEAD_SIZE
VCPU_COUNTS = VCPU_DRAWS + MAX_RULES * 8
VCPU_AT_MARK = VCPU_COUNTS + COUNTS_SIZE
VCPU_AT_START = VCPU_AT_MARK + COUNTS_SIZE
VCPU_SIZE = VCPU_AT_START + COUNTS_SIZE

# Offsets in struct control_block.
AT_MAGIC = 0
AT_VERSION = 8
AT_HEADER_SIZE = 12
AT_SIZE = 16
AT_RING_CAPACITY = 24
AT_ARMED = 32
AT_QUIT = 36
AT_PLAN_WANTED = 40
AT_PLACE_COUNT = 44
AT_POINT_COUNT = 48
AT_RULE_COUNT = 52
AT_SEED = 56
AT_PLAN_ACTIVE = 64
AT_ATTACHED_PID = 68
AT_API_VERSION = 72
AT_VCPU_COUNT = 76
AT_TARGET = 80
TARGET_SIZE = 32
AT_ATTEMPT = 112
AT_BLOCKS_TRANSLATED = 120
AT_RING_HEAD = 128
AT_PLACES = 192
AT_POINTS = AT_PLACES + MAX_PLACES * PLACE.size
AT_RULES = AT_POINTS + MAX_POINTS * POINT.size
AT_RULE_COUNTERS = AT_RULES + MAX_RULES * RULE_SIZE
AT_VCPUS = AT_RULE_COUNTERS + MAX_RULES * RULE_COUNTERS_SIZE
HEADER_SIZE = AT_VCPUS + MAX_VCPUS * VCPU_SIZE

# Offsets in struct cb_vcpu.
VCPU_BUSY = 0
VCPU_HELD_RULE = 4
VCPU_HELD_SINCE = 8


def vcpu(index: int) -> int:
    """The offset of a vCPU's struct cb_vcpu."""
    return AT_VCPUS + index * VCPU_SIZE


def rule(index: int) -> int:
    """The offset of a struct cb_rule."""
    return AT_RULES + index * RULE_SIZE


def rule_counters(index: int) -> int:
    """The offset of a struct cb_rule_counters."""
    return AT_RULE_COUNTERS + index * RULE_COUNTERS_SIZE


def block_size(ring_capacity: int) -> int:
    """The size of the whole file, in bytes, with a ring of so many events."""
    return HEADER_SIZE + ring_capacity * EVENT.size
