/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control block: shared memory between the harness and the plugin inside QEMU.
 *
 * One file, mapped by both; host byte order; layout.py is the same layout for Python, and a unit
 * test compares the two.  Who writes what:
 *
 *   harness only     everything under "plan"; it changes the plan only while it is disarmed and no
 *                    vCPU is in a rule (vcpu_block.busy is 0), so the plugin reads it without locks
 *   plugin only      everything under "plugin" and "counters", except that the harness resets
 *                    counters, in the same quiet state
 *   each by itself   the event ring's producers are the vCPUs, its one reader is the harness, which
 *                    writes nothing into it
 *
 * Words shared while the guest runs are C11 atomics; 64-bit ones are aligned to 8 bytes.
 */
#ifndef HARNESS_CONTROL_BLOCK_H
#define HARNESS_CONTROL_BLOCK_H

#include <stdatomic.h>
#include <stdint.h>

#define CB_MAGIC UINT64_C(0x4b434f4c42505446) /* "FTPBLOCK" in memory of a little-endian host */
#define CB_VERSION 1

#define CB_MAX_VCPUS 64
#define CB_MAX_POINTS 128
#define CB_MAX_PLACES 512 /* (address, point) pairs */
#define CB_MAX_RULES 128
#define CB_MAX_TERMS 16 /* per rule */
#define CB_RULE_WORDS (CB_MAX_RULES / 64)

#define CB_ALWAYS UINT32_C(1000000) /* probability 1, in parts per million */
#define CB_UNLIMITED UINT64_C(0)

/* What a term does once it fires (struct cb_term.action). */
enum {
	CB_OFF = 0,   /* nothing, and ends the chain: fail(9)'s "off" */
	CB_DELAY = 1, /* holds the vCPU for duration_ns */
	CB_PAUSE = 2, /* holds the vCPU until disarmed */
	CB_PRINT = 3, /* writes an event; goes on along the chain if cascade */
	CB_YIELD = 4, /* gives the host's CPU away once */
	CB_ORDER = 5, /* holds the vCPU as the rule's order says, then for duration_ns */
};

/* From when an order counts (struct cb_rule.since). */
enum { CB_SINCE_ARRIVAL = 0, CB_SINCE_MARK = 1, CB_SINCE_START = 2 };

/* What an order counts (struct cb_rule.counting). */
enum { CB_PASSES = 0, CB_ARRIVALS = 1 };

/* Bits of struct cb_point.flags. */
enum {
	CB_POINT_MARK = 1,       /* a hit begins the next attempt */
	CB_POINT_LOG = 2,        /* every armed pass is an event */
	CB_POINT_AWAITED = 4,    /* some order counts this point: passers look for waiters */
};

/* Kinds of events, and how a hold ended. */
enum { CB_EVENT_HOLD = 1, CB_EVENT_MARK = 2, CB_EVENT_PASS = 3, CB_EVENT_PRINT = 4 };
enum { CB_NONE = 0, CB_REACHED = 1, CB_TIMED_OUT = 2, CB_CANCELLED = 3, CB_DELAYED = 4 };

/* ---- plan ---------------------------------------------------------------------------------- */

struct cb_place { /* sorted by address, then by point */
	uint64_t address;
	uint32_t point;
	_Atomic uint32_t instrumented; /* by the plugin: how often translated code got it */
};

struct cb_point {
	uint32_t flags;
	uint32_t reserved;
	uint64_t rules[CB_RULE_WORDS]; /* bit r: rule r is attached here */
	uint64_t reserved2;
};

struct cb_term {
	uint64_t vcpus;       /* bit v: applies to vCPU v */
	uint64_t count;       /* fires at most so often since the start; CB_UNLIMITED */
	uint64_t duration_ns; /* CB_DELAY; extra hold after a CB_ORDER */
	uint32_t probability; /* parts per million */
	uint16_t action;
	uint16_t cascade; /* CB_PRINT: go on with the next term */
};

struct cb_rule {
	_Atomic uint32_t enabled; /* the one part of the plan that changes without a quiet state */
	uint32_t term_count;
	uint64_t skip;        /* lets so many arrivals of an attempt go by */
	uint64_t per_attempt; /* fires at most so often in an attempt; CB_UNLIMITED */
	/* the order, for CB_ORDER terms */
	uint64_t until_vcpus;
	uint64_t until_count;
	uint64_t timeout_ns;
	uint32_t until_point;
	uint16_t since;
	uint16_t counting;
	uint32_t until_other; /* leave the held vCPU out of until_vcpus */
	uint32_t reserved;
	struct cb_term terms[CB_MAX_TERMS];
};

/* ---- counters ------------------------------------------------------------------------------ */

struct cb_rule_counters { /* since the start */
	_Atomic uint64_t evaluated;
	_Atomic uint64_t entered; /* holds begun */
	_Atomic uint64_t reached;
	_Atomic uint64_t timed_out;
	_Atomic uint64_t cancelled;
	_Atomic uint64_t delayed;
	_Atomic uint64_t held_ns;
	_Atomic uint64_t longest_ns;
	_Atomic uint64_t attempt_fired; /* low 32 bits of the attempt << 32 | times fired in it */
	_Atomic uint64_t fired[CB_MAX_TERMS];
	uint64_t reserved[7];
};

struct cb_counts {
	_Atomic uint64_t arrivals[CB_MAX_POINTS];
	_Atomic uint64_t passes[CB_MAX_POINTS];
};

struct cb_vcpu { /* written by that vCPU's thread alone */
	_Atomic uint32_t busy;      /* in a rule or about to look whether it is armed */
	_Atomic uint32_t held_rule; /* rule + 1 while held, else 0 */
	_Atomic uint64_t held_since_ns;
	uint64_t reserved[6];
	_Atomic uint64_t draws[CB_MAX_RULES]; /* random numbers drawn since the start */
	struct cb_counts counts;              /* since QEMU started: never reset */
	struct cb_counts at_mark;             /* all vCPUs' rows written by who hits the mark */
	struct cb_counts at_start;            /* written by the harness */
};

/* ---- events -------------------------------------------------------------------------------- */

struct cb_event {
	/* 2 * ticket + 1 while ticket's event is being written, 2 * ticket + 2 when it is there */
	_Atomic uint64_t sequence;
	_Atomic uint64_t what; /* kind | outcome << 8 | term << 16 | vcpu << 32 */
	_Atomic uint64_t where; /* rule | point << 32; rule UINT32_MAX: none */
	_Atomic uint64_t attempt;
	_Atomic uint64_t start_ns; /* CLOCK_MONOTONIC of the host */
	_Atomic uint64_t end_ns;
	_Atomic uint64_t address;
	_Atomic uint64_t value; /* an order: what its count had come to; a mark: the new attempt */
};

/* ---- the whole ----------------------------------------------------------------------------- */

struct control_block {
	/* written by the harness when it creates the file; both sides check them */
	uint64_t magic;
	uint32_t version;
	uint32_t header_size; /* sizeof(struct control_block) */
	uint64_t size;        /* header_size + ring_capacity * sizeof(struct cb_event) */
	uint64_t ring_capacity; /* events; a power of two */

	/* the harness's switches */
	_Atomic uint32_t armed; /* odd: armed.  Every change adds one, and ends the holds in progress */
	_Atomic uint32_t quit;  /* not 0: no hold begins or goes on any more */
	_Atomic uint32_t plan_wanted; /* generation of the places below */
	uint32_t place_count;
	uint32_t point_count;
	uint32_t rule_count;
	_Atomic uint64_t seed;

	/* the plugin's answers */
	_Atomic uint32_t plan_active; /* generation that the guest's code is instrumented for */
	_Atomic uint32_t attached_pid;
	uint32_t api_version;
	uint32_t vcpu_count;
	char target[32];
	_Atomic uint64_t attempt; /* marks since the start */
	_Atomic uint64_t blocks_translated; /* retranslations included */
	_Atomic uint64_t ring_head; /* events ever begun */
	uint64_t reserved[7];

	struct cb_place places[CB_MAX_PLACES];
	struct cb_point points[CB_MAX_POINTS];
	struct cb_rule rules[CB_MAX_RULES];
	struct cb_rule_counters rule_counters[CB_MAX_RULES];
	struct cb_vcpu vcpus[CB_MAX_VCPUS];
	/* struct cb_event ring[ring_capacity] follows */
};

_Static_assert(sizeof(struct cb_event) == 64, "an event is one cache line");
_Static_assert(sizeof(struct cb_vcpu) % 64 == 0, "vCPUs share no cache line");
_Static_assert(sizeof(struct control_block) % 64 == 0, "the ring begins on a cache line");

#endif
