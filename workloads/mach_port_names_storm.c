/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Threads on all processors that call what allocates, wires and gives away memory of GNU Mach's
 * ipc_kernel_map: mach_port_names() above all (vm_map_pageable() in ipc/mach_port.c).
 *
 * Arguments: threads; ports, how many more the task has, which is how many pages a call takes;
 * mix, in per cent the calls that are not mach_port_names but mach_port_get_set_status,
 * host_processor_sets or task_threads in turn by chance; pause, the most yields between two calls;
 * seconds until the end, 0 for none; calls of each thread until the end, 0 for none; seed; rounds, 1
 * to let all threads wait for each other before every call, the first one on the first processor and
 * the others on the others.
 *
 * A heartbeat's "progress" counts each thread's calls: a thread whose count stands still hangs.
 */
#include "mach.h"

const char workload_name[] = "mach_port_names_storm";

struct worker {
	uint64_t random;
	volatile unsigned long calls;
	volatile const char *doing;
	volatile kern_return_t failed;
	volatile const char *what_failed;
} __attribute__((aligned(64)));

static struct worker workers[MAX_THREADS];
static port_t set;
static long mix, most_yields;
static volatile int stopping;
static unsigned long meeting, arrived, rounds_begun;
static unsigned long most_calls;	/* of each thread; 0 is no end */

/* A processor set's or thread's names are references that the kernel counts: all are given back. */
static kern_return_t call_something_else(struct worker *me, uint32_t choice)
{
	address_t array = 0;
	uint32_t count = 0;
	kern_return_t failed;

	if (choice == 0) {
		me->what_failed = "mach_port_get_set_status";
		failed = mach_port_get_set_status(mach_task_self(), set, &array, &count);
		if (!failed && count)
			failed = vm_deallocate(mach_task_self(), array, count * sizeof(uint32_t));
		return failed;
	}
	if (choice == 1) {
		me->what_failed = "host_processor_sets";
		failed = host_processor_sets(host_privileged_port, &array, &count);
	} else {
		me->what_failed = "task_threads";
		failed = task_threads(mach_task_self(), &array, &count);
	}
	if (!failed)
		release_ports(array, count);
	return failed;
}

WORKLOAD_PLACE(round_begins)

/* With rounds, nobody calls before everybody has come back from the call before. */
static void meet(void)
{
	unsigned long before = __atomic_fetch_add(&arrived, 1, __ATOMIC_ACQ_REL);
	unsigned long turn = before / meeting + 1;

	if (before + 1 == turn * meeting) {
		round_begins();
		__atomic_store_n(&rounds_begun, turn, __ATOMIC_RELEASE);
	}
	while (__atomic_load_n(&rounds_begun, __ATOMIC_ACQUIRE) < turn && !stopping)
		__asm__ volatile("pause");
}

WORKLOAD_PLACE(call_begins)
WORKLOAD_PLACE(call_ended)

static kern_return_t call_port_names(struct worker *me)
{
	address_t names = 0, types = 0;
	uint32_t name_count = 0, type_count = 0;
	kern_return_t failed;

	me->what_failed = "mach_port_names";
	call_begins();
	failed = mach_port_names(mach_task_self(), &names, &name_count, &types, &type_count);
	call_ended();
	if (!failed && name_count)
		failed = vm_deallocate(mach_task_self(), names, name_count * sizeof(uint32_t));
	if (!failed && type_count)
		failed = vm_deallocate(mach_task_self(), types, type_count * sizeof(uint32_t));
	return failed;
}

static void work(void *argument)
{
	struct worker *me = argument;

	/* A page fault of the task's own needs all processors, and none may be held for the first. */
	if (meeting)
		me->failed = call_something_else(me, 1);
	while (!stopping && !me->failed && (!most_calls || me->calls < most_calls)) {
		uint32_t dice = (uint32_t)next_random(&me->random);

		if (meeting)
			meet();
		if ((long)(dice % 100) < mix)
			me->failed = call_something_else(me, (dice >> 16) % 3);
		else
			me->failed = call_port_names(me);
		me->calls++;
		if (most_yields)
			for (uint32_t n = (dice >> 8) % (uint32_t)(most_yields + 1); n; n--)
				swtch_pri(0);
	}
}

static void describe_progress(char *into, size_t room, long threads)
{
	int n = format(into, room, ",\"progress\":[");

	for (long i = 0; i < threads; i++)
		n += format(into + n, room - (size_t)n, "%s%lu", i ? "," : "", workers[i].calls);
	format(into + n, room - (size_t)n, "]");
}

static int all_have_called(long threads)
{
	for (long i = 0; i < threads; i++)
		if (workers[i].calls < most_calls)
			return 0;
	return 1;
}

int workload_main(int argc, char **argv)
{
	char progress[512];
	long threads = number(argc, argv, "threads", 4);
	long ports = number(argc, argv, "ports", 0);
	long seconds = number(argc, argv, "seconds", 0);
	uint64_t seed = seed_of(argc, argv);
	port_t port;

	most_calls = (unsigned long)number(argc, argv, "calls", 0);
	mix = number(argc, argv, "mix", 0);
	most_yields = number(argc, argv, "pause", 0);
	if (threads < 1 || threads > MAX_THREADS)
		fail_to_run("argument threads: expected 1 to %d, found %ld", MAX_THREADS, threads);
	if (number(argc, argv, "rounds", 0))
		meeting = (unsigned long)threads;
	if (mix > 100)
		fail_to_run("argument mix: expected at most 100 per cent, found %ld", mix);
	start_workload();
	if (mach_port_allocate(mach_task_self(), PORT_RIGHT_PORT_SET, &set))
		fail_to_run("no port set");
	for (long i = 0; i < ports; i++) {
		kern_return_t failed = mach_port_allocate(mach_task_self(), PORT_RIGHT_RECEIVE, &port);

		if (!failed && i % 2)
			failed = mach_port_move_member(mach_task_self(), port, set);
		if (failed)
			fail_to_run("port %ld of %ld: %d", i, ports, failed);
	}
	for (long i = 0; i < threads; i++) {
		workers[i].random = seed * MAX_THREADS + (uint64_t)i;
		start_thread(work, &workers[i], meeting ? i > 0 : (unsigned)i % 2);
	}
	for (unsigned long beats = 1;; beats++) {
		sleep_ms(500);
		describe_progress(progress, sizeof progress, threads);
		for (long i = 0; i < threads; i++)
			if (workers[i].failed)
				fail_to_run("%s failed: %d", (const char *)workers[i].what_failed,
					    workers[i].failed);
		if (seconds && milliseconds_since_start() >= (unsigned long)seconds * 1000)
			break;
		if (most_calls && all_have_called(threads))
			break;
		report("heartbeat", "%s", progress);
	}
	stopping = 1;
	report("done", "%s", progress);
	return 0;
}
