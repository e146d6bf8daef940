/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Failpoints and orders of events from outside the guest: a QEMU TCG plugin.
 *
 * A vCPU that executes an instruction at a known virtual address calls on_execute(), which may hold
 * it there: its host thread sleeps, the other vCPUs run on.  What is held where, and until when, is
 * in the control block (control_block.h), which the harness writes before and while the guest runs.
 *
 *   -accel tcg,thread=multi -plugin file=failpoint.so,shm=CONTROL_BLOCK
 *
 * The few plugin functions of QEMU are declared here (docs/devel/tcg-plugins of QEMU documents
 * them): distributions ship no header.  One build serves QEMU 6.0 to 11.1: see "API versions".
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "control_block.h"

/* ---- QEMU's side --------------------------------------------------------------------------- */

typedef uint64_t qemu_plugin_id_t;

typedef struct {
	const char *target_name;
	struct {
		int min;
		int cur;
	} version;
	bool system_emulation;
	struct {
		int smp_vcpus;
		int max_vcpus;
	} system;
} qemu_info_t;

struct qemu_plugin_tb;
struct qemu_plugin_insn;

enum { QEMU_PLUGIN_CB_NO_REGS = 0 };

typedef void (*vcpu_udata_cb)(unsigned int, void *);

void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, vcpu_udata_cb, int, void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);

/* These took other arguments before API version 7 (QEMU 11.1): see "API versions" below. */
void qemu_plugin_reset(void);
void qemu_plugin_register_atexit_cb(void);
void qemu_plugin_register_vcpu_idle_cb(void);
void qemu_plugin_register_vcpu_resume_cb(void);
void qemu_plugin_register_vcpu_tb_trans_cb(void);

#define EXPORT __attribute__((visibility("default")))

EXPORT int qemu_plugin_version = 1;
EXPORT int qemu_plugin_install(qemu_plugin_id_t, const qemu_info_t *, int, char **);

/* ---- state --------------------------------------------------------------------------------- */

#define NS_PER_S UINT64_C(1000000000)
#define SLICE_NS UINT64_C(1000000) /* a hold looks this often whether it is cancelled */
#define SPIN_NS UINT64_C(20000)    /* below this a sleep costs more than it spares */

/* An instrumented address.  Replaced only while QEMU keeps all vCPUs outside translated code. */
struct site {
	uint64_t address;
	uint32_t first; /* in site_points */
	uint32_t count;
};

static qemu_plugin_id_t plugin_id;
static struct control_block *block;
static struct cb_event *ring;
static struct site sites[CB_MAX_PLACES];
static uint32_t site_points[CB_MAX_PLACES];
static uint32_t site_count;
static atomic_bool reset_requested;

/* Sleeping vCPUs, by the point that they wait for. */
static struct {
	_Alignas(64) _Atomic uint32_t sleepers;
	_Atomic uint32_t passed; /* futex */
} queues[CB_MAX_POINTS];

struct hit {
	struct cb_vcpu *me;
	uint32_t vcpu;
	uint32_t point;
	uint32_t armed; /* control_block.armed when the vCPU came */
	uint64_t attempt;
	uint64_t address;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static struct timespec as_timespec(uint64_t ns)
{
	return (struct timespec){ .tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S) };
}

static uint64_t read64(_Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static void write64(_Atomic uint64_t *word, uint64_t value)
{
	atomic_store_explicit(word, value, memory_order_relaxed);
}

/* For words that only the calling vCPU writes: no locked instruction. */
static uint64_t bump_own(_Atomic uint64_t *word)
{
	uint64_t before = read64(word);

	write64(word, before + 1);
	return before;
}

static void add(_Atomic uint64_t *word, uint64_t value)
{
	atomic_fetch_add_explicit(word, value, memory_order_relaxed);
}

static void raise_to(_Atomic uint64_t *word, uint64_t value)
{
	uint64_t seen = read64(word);

	while (seen < value && !atomic_compare_exchange_weak(word, &seen, value))
		;
}

/* ---- counting ------------------------------------------------------------------------------ */

static uint64_t counted(struct cb_counts *counts, uint32_t point, unsigned counting)
{
	return read64(counting == CB_ARRIVALS ? &counts->arrivals[point] : &counts->passes[point]);
}

/* How often the vCPUs have come to (or passed) a point since QEMU began: by now, or when the mark
 * or the start was. */
static uint64_t sum_of(uint32_t point, unsigned counting, uint64_t vcpus, unsigned when)
{
	uint64_t sum = 0;

	for (uint32_t v = 0; v < block->vcpu_count; v++) {
		struct cb_vcpu *vcpu = &block->vcpus[v];

		if (vcpus >> v & 1)
			sum += counted(when == CB_SINCE_MARK  ? &vcpu->at_mark :
				       when == CB_SINCE_START ? &vcpu->at_start :
								&vcpu->counts,
				       point, counting);
	}
	return sum;
}

static uint64_t sum_now(uint32_t point, unsigned counting, uint64_t vcpus)
{
	return sum_of(point, counting, vcpus, CB_SINCE_ARRIVAL);
}

static uint64_t until_vcpus(const struct cb_rule *rule, uint32_t held_vcpu)
{
	return rule->until_vcpus & ~(rule->until_other ? UINT64_C(1) << held_vcpu : 0);
}

/* The counter that changed must be seen by whoever goes to sleep from now on, and who sleeps
 * already must be seen here: the fence pairs with the one in wait_for_order(). */
static void wake_waiters(uint32_t point)
{
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&queues[point].sleepers, memory_order_relaxed) == 0)
		return;
	atomic_fetch_add(&queues[point].passed, 1);
	syscall(SYS_futex, &queues[point].passed, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

/* ---- events -------------------------------------------------------------------------------- */

struct event {
	uint32_t kind;
	uint32_t outcome;
	uint32_t term;
	uint32_t rule; /* UINT32_MAX: none */
	uint64_t start_ns;
	uint64_t end_ns;
	uint64_t value;
};

/* The newest events replace the oldest.  A producer waits only for one that was interrupted in the
 * middle of writing the event a whole ring ago. */
static void log_event(const struct hit *hit, const struct event *event)
{
	uint64_t ticket = atomic_fetch_add(&block->ring_head, 1);
	struct cb_event *slot = &ring[ticket & (block->ring_capacity - 1)];
	uint64_t begun = 2 * ticket + 1;
	uint64_t seen = atomic_load(&slot->sequence);

	do {
		while (seen & 1) {
			sched_yield();
			seen = atomic_load(&slot->sequence);
		}
		if (seen > begun)
			return; /* overtaken by a whole ring: the reader counts it as lost */
	} while (!atomic_compare_exchange_weak(&slot->sequence, &seen, begun));
	write64(&slot->what, (uint64_t)event->kind | (uint64_t)event->outcome << 8 |
				     (uint64_t)event->term << 16 | (uint64_t)hit->vcpu << 32);
	write64(&slot->where, (uint64_t)event->rule | (uint64_t)hit->point << 32);
	write64(&slot->attempt, hit->attempt);
	write64(&slot->start_ns, event->start_ns);
	write64(&slot->end_ns, event->end_ns);
	write64(&slot->address, hit->address);
	write64(&slot->value, event->value);
	atomic_store_explicit(&slot->sequence, begun + 1, memory_order_release);
}

static void log_instant(const struct hit *hit, uint32_t kind, uint32_t rule, uint32_t term,
			uint64_t value)
{
	uint64_t now = now_ns();

	log_event(hit, &(struct event){ .kind = kind, .rule = rule, .term = term, .start_ns = now,
					.end_ns = now, .value = value });
}

/* ---- holding ------------------------------------------------------------------------------- */

static bool cancelled(const struct hit *hit, struct cb_rule *rule)
{
	return atomic_load_explicit(&block->armed, memory_order_acquire) != hit->armed ||
	       atomic_load_explicit(&block->quit, memory_order_acquire) != 0 ||
	       atomic_load_explicit(&rule->enabled, memory_order_acquire) == 0;
}

static uint64_t slice_end(uint64_t now, uint64_t deadline)
{
	return deadline - now < SLICE_NS ? deadline : now + SLICE_NS;
}

static uint32_t sleep_until(const struct hit *hit, struct cb_rule *rule, uint64_t deadline)
{
	for (;;) {
		uint64_t now = now_ns();

		if (now >= deadline)
			return CB_DELAYED;
		if (cancelled(hit, rule))
			return CB_CANCELLED;
		if (deadline - now > SPIN_NS) {
			struct timespec until = as_timespec(slice_end(now, deadline));

			clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
		}
	}
}

/* Sleeps until `until_point` has been counted often enough; *count says how far it had come. */
static uint32_t wait_for_order(const struct hit *hit, struct cb_rule *rule, uint64_t base,
			       uint64_t deadline, uint64_t *count)
{
	uint32_t point = rule->until_point;
	uint64_t vcpus = until_vcpus(rule, hit->vcpu);
	uint32_t outcome = CB_NONE;

	atomic_fetch_add(&queues[point].sleepers, 1);
	atomic_thread_fence(memory_order_seq_cst);
	while (outcome == CB_NONE) {
		uint32_t passed = atomic_load(&queues[point].passed);
		uint64_t now;

		*count = sum_now(point, rule->counting, vcpus) - base;
		if (*count >= rule->until_count) {
			outcome = CB_REACHED;
		} else if (cancelled(hit, rule)) {
			outcome = CB_CANCELLED;
		} else if ((now = now_ns()) >= deadline) {
			outcome = CB_TIMED_OUT;
		} else {
			struct timespec left = as_timespec(slice_end(now, deadline) - now);

			syscall(SYS_futex, &queues[point].passed, FUTEX_WAIT_PRIVATE, passed, &left, NULL,
				0);
		}
	}
	atomic_fetch_sub(&queues[point].sleepers, 1);
	return outcome;
}

static uint64_t after(uint64_t start, uint64_t duration)
{
	return duration > UINT64_MAX - start ? UINT64_MAX : start + duration;
}

static void count_hold(struct cb_rule_counters *counters, uint32_t outcome, uint64_t held_ns)
{
	_Atomic uint64_t *ends[] = { [CB_REACHED] = &counters->reached,
				     [CB_TIMED_OUT] = &counters->timed_out,
				     [CB_CANCELLED] = &counters->cancelled,
				     [CB_DELAYED] = &counters->delayed };

	add(ends[outcome], 1);
	add(&counters->held_ns, held_ns);
	raise_to(&counters->longest_ns, held_ns);
}

static void hold(const struct hit *hit, uint32_t r, uint32_t t, uint64_t base)
{
	struct cb_rule *rule = &block->rules[r];
	const struct cb_term *term = &rule->terms[t];
	struct event event = { .kind = CB_EVENT_HOLD, .rule = r, .term = t, .start_ns = now_ns() };
	int slack = prctl(PR_GET_TIMERSLACK);

	/* A thread's sleeps are 50 us late by default (prctl(2)): too much for a hold of 1 ms. */
	prctl(PR_SET_TIMERSLACK, 1);
	add(&block->rule_counters[r].entered, 1);
	write64(&hit->me->held_since_ns, event.start_ns);
	atomic_store_explicit(&hit->me->held_rule, r + 1, memory_order_release);

	if (term->action == CB_ORDER) {
		event.outcome = wait_for_order(hit, rule, base, after(event.start_ns, rule->timeout_ns),
					       &event.value);
		if (event.outcome == CB_REACHED && term->duration_ns != 0 &&
		    sleep_until(hit, rule, after(now_ns(), term->duration_ns)) == CB_CANCELLED)
			event.outcome = CB_CANCELLED;
	} else if (term->action == CB_PAUSE) {
		event.outcome = sleep_until(hit, rule, UINT64_MAX);
	} else {
		event.outcome = sleep_until(hit, rule, after(event.start_ns, term->duration_ns));
	}

	event.end_ns = now_ns();
	atomic_store_explicit(&hit->me->held_rule, 0, memory_order_release);
	prctl(PR_SET_TIMERSLACK, slack > 0 ? slack : 0);
	count_hold(&block->rule_counters[r], event.outcome, event.end_ns - event.start_ns);
	log_event(hit, &event);
}

/* ---- rules --------------------------------------------------------------------------------- */

/* SplitMix64's output function (Steele, Lea, Flood: Fast splittable pseudorandom number
 * generators, OOPSLA 2014). */
static uint64_t mixed(uint64_t z)
{
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* The n-th draw of a rule on a vCPU depends on the seed and on nothing else that runs. */
static bool chance(const struct hit *hit, uint32_t r, uint32_t probability)
{
	const uint64_t step = UINT64_C(0x9e3779b97f4a7c15);
	uint64_t n, stream;

	if (probability >= CB_ALWAYS)
		return true;
	n = bump_own(&hit->me->draws[r]);
	stream = mixed(read64(&block->seed) + step * ((uint64_t)r * CB_MAX_VCPUS + hit->vcpu + 1));
	return ((mixed(stream + step * (n + 1)) >> 32) * CB_ALWAYS) >> 32 < probability;
}

/* Counts one more firing unless the limit is reached. */
static bool take(_Atomic uint64_t *fired, uint64_t limit)
{
	uint64_t seen = read64(fired);

	do {
		if (limit != CB_UNLIMITED && seen >= limit)
			return false;
	} while (!atomic_compare_exchange_weak(fired, &seen, seen + 1));
	return true;
}

static bool take_in_attempt(_Atomic uint64_t *attempt_fired, uint64_t hits_attempt, uint64_t limit)
{
	uint64_t attempt = hits_attempt << 32;
	uint64_t seen = read64(attempt_fired);
	uint64_t fired;

	if (limit == CB_UNLIMITED)
		return true;
	do {
		fired = (seen & ~UINT64_C(0xffffffff)) == attempt ? seen & UINT32_MAX : 0;
		if (fired >= limit)
			return false;
	} while (!atomic_compare_exchange_weak(attempt_fired, &seen, attempt | (fired + 1)));
	return true;
}

static uint64_t arrivals_in_attempt(uint32_t point, uint64_t vcpus)
{
	return sum_now(point, CB_ARRIVALS, vcpus) -
	       sum_of(point, CB_ARRIVALS, vcpus, CB_SINCE_MARK);
}

static bool fires(const struct hit *hit, uint32_t r, uint32_t t)
{
	const struct cb_rule *rule = &block->rules[r];
	const struct cb_term *term = &rule->terms[t];
	struct cb_rule_counters *counters = &block->rule_counters[r];

	if (!(term->vcpus >> hit->vcpu & 1))
		return false;
	if (rule->skip != 0 && arrivals_in_attempt(hit->point, term->vcpus) <= rule->skip)
		return false;
	if (!chance(hit, r, term->probability))
		return false;
	if (term->count != CB_UNLIMITED && read64(&counters->fired[t]) >= term->count)
		return false;
	return take_in_attempt(&counters->attempt_fired, hit->attempt, rule->per_attempt) &&
	       take(&counters->fired[t], term->count);
}

/* As in fail(9): the first term that fires ends the chain, unless it is a cascading print. */
static void run_rule(const struct hit *hit, uint32_t r, uint64_t base)
{
	struct cb_rule *rule = &block->rules[r];

	if (cancelled(hit, rule))
		return;
	add(&block->rule_counters[r].evaluated, 1);
	for (uint32_t t = 0; t < rule->term_count && t < CB_MAX_TERMS; t++) {
		const struct cb_term *term = &rule->terms[t];

		if (!fires(hit, r, t))
			continue;
		switch (term->action) {
		case CB_DELAY:
		case CB_PAUSE:
		case CB_ORDER:
			hold(hit, r, t, base);
			return;
		case CB_PRINT:
			log_instant(hit, CB_EVENT_PRINT, r, t, 0);
			if (!term->cascade)
				return;
			break;
		case CB_YIELD:
			sched_yield();
			return;
		default:
			return;
		}
	}
}

static uint64_t next_rule(uint64_t *left, uint32_t word)
{
	uint32_t r = word * 64 + (uint32_t)__builtin_ctzll(*left);

	*left &= *left - 1;
	return r;
}

/* What the orders that count from the arrival find there.  Taken before the arrival is counted:
 * whoever waits for it runs on at once, and may pass what these orders wait for. */
static void take_stock(const struct hit *hit, uint64_t stock[CB_MAX_RULES])
{
	for (uint32_t w = 0; w < CB_RULE_WORDS; w++)
		for (uint64_t left = block->points[hit->point].rules[w]; left != 0;) {
			uint64_t r = next_rule(&left, w);
			const struct cb_rule *rule = &block->rules[r];
			uint64_t vcpus = until_vcpus(rule, hit->vcpu);

			if (rule->since != CB_SINCE_ARRIVAL)
				continue;
			stock[r] = sum_now(rule->until_point, rule->counting, vcpus);
			if (rule->counting == CB_ARRIVALS && rule->until_point == hit->point)
				stock[r] += vcpus >> hit->vcpu & 1; /* its own, about to be counted */
		}
}

static void run_rules(const struct hit *hit, const uint64_t stock[CB_MAX_RULES])
{
	for (uint32_t w = 0; w < CB_RULE_WORDS; w++)
		for (uint64_t left = block->points[hit->point].rules[w]; left != 0;) {
			uint64_t r = next_rule(&left, w);
			const struct cb_rule *rule = &block->rules[r];

			run_rule(hit, (uint32_t)r,
				 rule->since == CB_SINCE_ARRIVAL ?
					 stock[r] :
					 sum_of(rule->until_point, rule->counting,
						until_vcpus(rule, hit->vcpu), rule->since));
		}
}

/* The hit of the mark itself belongs to the attempt that it begins. */
static void begin_attempt(struct hit *hit)
{
	hit->attempt = atomic_fetch_add(&block->attempt, 1) + 1;
	for (uint32_t v = 0; v < block->vcpu_count; v++) {
		struct cb_vcpu *vcpu = &block->vcpus[v];

		for (uint32_t p = 0; p < block->point_count; p++) {
			uint64_t own = v == hit->vcpu && p == hit->point;

			write64(&vcpu->at_mark.passes[p], read64(&vcpu->counts.passes[p]));
			write64(&vcpu->at_mark.arrivals[p], read64(&vcpu->counts.arrivals[p]) - own);
		}
	}
	log_instant(hit, CB_EVENT_MARK, UINT32_MAX, 0, hit->attempt);
}

static void arrive(struct hit *hit)
{
	uint32_t flags = block->points[hit->point].flags;
	uint64_t stock[CB_MAX_RULES];

	hit->attempt = read64(&block->attempt);
	take_stock(hit, stock);
	bump_own(&hit->me->counts.arrivals[hit->point]);
	if (flags & CB_POINT_MARK)
		begin_attempt(hit);
	if (flags & CB_POINT_AWAITED)
		wake_waiters(hit->point);
	run_rules(hit, stock);
	bump_own(&hit->me->counts.passes[hit->point]);
	if (flags & CB_POINT_AWAITED)
		wake_waiters(hit->point);
	if (flags & CB_POINT_LOG)
		log_instant(hit, CB_EVENT_PASS, UINT32_MAX, 0, 0);
}

static bool plan_is_active(void)
{
	return atomic_load_explicit(&block->plan_wanted, memory_order_acquire) ==
	       atomic_load_explicit(&block->plan_active, memory_order_relaxed);
}

static void adopt_new_plan(void);

static void on_execute(unsigned int vcpu, void *udata)
{
	const struct site *site = udata;
	struct cb_vcpu *me = &block->vcpus[vcpu % CB_MAX_VCPUS];
	uint32_t armed = atomic_load_explicit(&block->armed, memory_order_relaxed);

	if (armed & 1) {
		/* Sequentially consistent: either the harness sees us busy and waits, or we see it
		 * disarmed. */
		atomic_store(&me->busy, 1);
		armed = atomic_load(&block->armed);
		if ((armed & 1) && atomic_load(&block->quit) == 0 && plan_is_active()) {
			for (uint32_t i = 0; i < site->count; i++)
				arrive(&(struct hit){ .me = me,
						      .vcpu = vcpu,
						      .point = site_points[site->first + i],
						      .armed = armed,
						      .address = site->address });
			atomic_store_explicit(&me->busy, 0, memory_order_release);
			return;
		}
		atomic_store_explicit(&me->busy, 0, memory_order_release);
	}
	for (uint32_t i = 0; i < site->count; i++) {
		bump_own(&me->counts.arrivals[site_points[site->first + i]]);
		bump_own(&me->counts.passes[site_points[site->first + i]]);
	}
	adopt_new_plan();
}

/* ---- instrumenting ------------------------------------------------------------------------- */

/* Index of the first site at or above an address. */
static uint32_t first_site_from(uint64_t address)
{
	uint32_t low = 0, high = site_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (sites[middle].address < address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void on_translate(struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb);
	uint64_t first, last;
	uint32_t s;

	adopt_new_plan();
	add(&block->blocks_translated, 1);
	if (n == 0)
		return;
	first = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, 0));
	last = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, n - 1));
	s = first_site_from(first);
	if (s == site_count || sites[s].address > last)
		return;
	for (size_t i = 0; i < n && s < site_count; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uint64_t address = qemu_plugin_insn_vaddr(insn);

		while (s < site_count && sites[s].address < address)
			s++; /* not the beginning of an instruction here */
		if (s < site_count && sites[s].address == address) {
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_execute,
							       QEMU_PLUGIN_CB_NO_REGS, &sites[s]);
			for (uint32_t p = sites[s].first; p < sites[s].first + sites[s].count; p++)
				atomic_fetch_add(&block->places[p].instrumented, 1);
		}
	}
}

/* Copies the places into the table of sites.  False: the harness was writing them, or they are
 * not in order; the table is then empty until the next generation. */
static bool load_sites(void)
{
	uint32_t generation = atomic_load(&block->plan_wanted);
	uint32_t places = block->place_count;

	site_count = 0;
	if (generation & 1 || places > CB_MAX_PLACES)
		return false;
	for (uint32_t i = 0; i < places; i++) {
		uint64_t address = block->places[i].address;
		struct site *last = site_count ? &sites[site_count - 1] : NULL;

		site_points[i] = block->places[i].point;
		if (site_points[i] >= CB_MAX_POINTS || (last && address < last->address)) {
			fprintf(stderr, "failpoint plugin: place %" PRIu32 " of the plan is invalid\n", i);
			site_count = 0;
			return false;
		}
		if (last && last->address == address)
			last->count++;
		else
			sites[site_count++] = (struct site){ address, i, 1 };
	}
	atomic_thread_fence(memory_order_acquire);
	if (atomic_load(&block->plan_wanted) != generation) {
		site_count = 0;
		return false;
	}
	atomic_store(&block->plan_active, generation);
	return true;
}

static void on_exit_of_qemu(void)
{
	atomic_store(&block->attached_pid, 0);
}

static void register_callbacks(void);

/* QEMU calls this with all vCPUs stopped outside translated code, and all of it thrown away. */
static void on_reset(void)
{
	load_sites();
	register_callbacks();
	atomic_store(&reset_requested, false);
}

static void request_reset(void);

/* New addresses need the guest's code translated anew, which only a vCPU thread may ask for. */
static void adopt_new_plan(void)
{
	uint32_t wanted = atomic_load_explicit(&block->plan_wanted, memory_order_acquire);

	if (wanted == atomic_load_explicit(&block->plan_active, memory_order_relaxed) || wanted & 1)
		return;
	if (!atomic_exchange(&reset_requested, true))
		request_reset();
}

/* ---- API versions -------------------------------------------------------------------------- */

/*
 * Version 1 serves QEMU 6.0 to 8.2, version 2 QEMU 9.0 to 11.0.  Version 7 (11.1, which takes no
 * older one) gives every callback the user data that it was registered with, in place of the
 * plugin's id, and qemu_plugin_reset() such data too.
 */
#define CALLBACKS_WITH_DATA 7

typedef void (*any_function)(void);
typedef void (*register_1)(qemu_plugin_id_t, any_function);
typedef void (*register_7)(qemu_plugin_id_t, any_function, void *);

static void translate_1(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	(void)id;
	on_translate(tb);
}

static void translate_7(struct qemu_plugin_tb *tb, void *data)
{
	(void)data;
	on_translate(tb);
}

static void idle_or_resume_1(qemu_plugin_id_t id, unsigned int vcpu)
{
	(void)id;
	(void)vcpu;
	adopt_new_plan();
}

static void idle_or_resume_7(unsigned int vcpu, void *data)
{
	(void)vcpu;
	(void)data;
	adopt_new_plan();
}

static void exit_1(qemu_plugin_id_t id, void *data)
{
	(void)id;
	(void)data;
	on_exit_of_qemu();
}

static void exit_7(void *data)
{
	(void)data;
	on_exit_of_qemu();
}

static void reset_1(qemu_plugin_id_t id)
{
	(void)id;
	on_reset();
}

static void reset_7(void *data)
{
	(void)data;
	on_reset();
}

static void call(any_function qemus, any_function of_1, any_function of_7)
{
	if (qemu_plugin_version >= CALLBACKS_WITH_DATA)
		((register_7)qemus)(plugin_id, of_7, NULL);
	else
		((register_1)qemus)(plugin_id, of_1);
}

static void register_callbacks(void)
{
	any_function idle_1 = (any_function)idle_or_resume_1, idle_7 = (any_function)idle_or_resume_7;
	any_function at_exit = qemu_plugin_version >= CALLBACKS_WITH_DATA ? (any_function)exit_7 :
									    (any_function)exit_1;
	any_function qemus = qemu_plugin_register_atexit_cb;
	register_7 register_with_data = (register_7)qemus; /* in every version */

	/* Asking to see translations makes QEMU's translator a tenth slower, whatever is done with
	 * them: a plan without places costs nothing. */
	if (site_count > 0 || !plan_is_active())
		call(qemu_plugin_register_vcpu_tb_trans_cb, (any_function)translate_1,
		     (any_function)translate_7);
	call(qemu_plugin_register_vcpu_idle_cb, idle_1, idle_7);
	call(qemu_plugin_register_vcpu_resume_cb, idle_1, idle_7);
	register_with_data(plugin_id, at_exit, NULL);
}

static void request_reset(void)
{
	call(qemu_plugin_reset, (any_function)reset_1, (any_function)reset_7);
}

/* QMP's query-version (qapi/misc.json), which QEMUs that can load modules export. */
struct version {
	struct {
		int64_t major, minor, micro;
	} *qemu;
	char *package;
};
typedef struct version *(*query_version)(void **);

static int suitable_api_version(void)
{
	const char *forced = getenv("HARNESS_QEMU_PLUGIN_API");
	any_function found;
	struct version *version;

	if (forced != NULL)
		return atoi(forced);
	if (dlsym(RTLD_DEFAULT, "qemu_plugin_scoreboard_new") == NULL) /* came with version 2 */
		return 1;
	if (dlsym(RTLD_DEFAULT, "qemu_plugin_register_vcpu_discon_cb") == NULL) /* with version 6 */
		return 2;
	*(void **)&found = dlsym(RTLD_DEFAULT, "qmp_query_version");
	if (found == NULL)
		return CALLBACKS_WITH_DATA;
	version = ((query_version)found)(NULL);
	if (version->qemu->major < 11 || (version->qemu->major == 11 && version->qemu->minor < 1))
		return 2;
	return CALLBACKS_WITH_DATA;
}

/* QEMU reads qemu_plugin_version after dlopen(): here it still can be chosen. */
__attribute__((constructor)) static void choose_api_version(void)
{
	qemu_plugin_version = suitable_api_version();
}

/* ---- beginning ----------------------------------------------------------------------------- */

static int refuse(const char *path, const char *why)
{
	fprintf(stderr, "failpoint plugin: control block %s: %s\n", path, why);
	return -1;
}

static int map_block(const char *path)
{
	struct control_block *mapped;
	struct stat status;
	void *memory;
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return refuse(path, strerror(errno));
	if (fstat(fd, &status) != 0 || (uint64_t)status.st_size < sizeof(struct control_block)) {
		close(fd);
		return refuse(path, "too small to be one; is it from this version of the harness?");
	}
	memory = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (memory == MAP_FAILED)
		return refuse(path, strerror(errno));
	mapped = memory;
	if (mapped->magic != CB_MAGIC)
		return refuse(path, "has no magic number: not a control block, or not finished");
	if (mapped->version != CB_VERSION || mapped->header_size != sizeof(struct control_block))
		return refuse(path, "has another layout: plugin and harness are of different versions");
	if (mapped->ring_capacity == 0 || (mapped->ring_capacity & (mapped->ring_capacity - 1)) != 0 ||
	    mapped->ring_capacity > (uint64_t)status.st_size / sizeof(struct cb_event) ||
	    mapped->size != (uint64_t)status.st_size ||
	    mapped->size != sizeof(*mapped) + mapped->ring_capacity * sizeof(struct cb_event))
		return refuse(path, "its size and its ring's do not agree");
	block = mapped;
	ring = (struct cb_event *)(mapped + 1);
	return 0;
}

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
	const char *path = NULL;

	for (int i = 0; i < argc; i++) {
		if (strncmp(argv[i], "shm=", 4) != 0) {
			fprintf(stderr, "failpoint plugin: unknown argument %s; expected shm=FILE\n", argv[i]);
			return -1;
		}
		path = argv[i] + 4;
	}
	if (path == NULL) {
		fprintf(stderr, "failpoint plugin: expected the argument shm=FILE\n");
		return -1;
	}
	if (!info->system_emulation)
		return refuse(path, "only guests with a system of their own, not user emulation");
	if (info->system.max_vcpus > CB_MAX_VCPUS)
		return refuse(path, "the guest may have more than 64 vCPUs (-smp maxcpus)");
	if (map_block(path) != 0)
		return -1;
	plugin_id = id;
	block->api_version = (uint32_t)qemu_plugin_version;
	block->vcpu_count = (uint32_t)info->system.max_vcpus;
	strncpy(block->target, info->target_name, sizeof(block->target) - 1);
	if (!load_sites())
		return refuse(path, "its list of places is not valid");
	register_callbacks();
	atomic_store(&block->attached_pid, (uint32_t)getpid());
	return 0;
}
