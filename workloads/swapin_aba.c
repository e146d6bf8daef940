/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Swap-in ABA: is a swapped-out page ever brought back with an older generation than it had?
 *
 * Every page of a private anonymous mapping carries its own address and a generation. The
 * aggressor writes generations and pushes the page out to swap; a victim faults on the same swap
 * entry at the same time. Where the swap cache is skipped, the victim may hold a page that it
 * read long ago; if the entry has meanwhile been freed and used again for the same page, it
 * installs the old content over the new: a lost update, which nothing but this check notices.
 *
 * mode=forced  batches of attempts, each one swap-in of page 0 by the victim (a process that
 *              reads the aggressor's memory with process_vm_readv, on its own vCPU) against
 *              `rounds` write-and-push-out rounds of the aggressor. The allocator goes round the
 *              `slots` free swap slots, so the page is back in its first one after exactly that
 *              many rounds. Failpoints decide the order; the functions marked WORKLOAD_PLACE are
 *              for them.
 * mode=free    `workers` threads write and check words of `pages` pages while another pushes them
 *              out, until the first lost update or `seconds` have gone.
 *
 * With write_first=1 the aggressor faults page 0 in by a store, so that it is mapped writable at once.
 * A load would map it read-only, and the store after it makes a copy, whose TLB invalidation waits
 * for a held victim on arm64.
 *
 * Arguments: seed, mode, attempts, slots, rounds (default: slots), write_first, pages, workers,
 * seconds.
 */
#include "swap_slots.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>

enum { MAX_WORKERS = 16, MAX_PAGES = 1024, VICTIM_CPU = 0, AGGRESSOR_CPU = 1 };

struct page_content {
	uint64_t address;
	_Atomic uint64_t generation;
	_Atomic uint64_t words[MAX_WORKERS];
};

/* What aggressor and victim process share; the pages themselves are the aggressor's own. */
struct shared {
	_Atomic long turn;		/* attempt that the victim may start */
	_Atomic long finished;		/* attempt whose swap-in the victim has finished */
	_Atomic long failures;		/* reads that did not return a whole page header */
	_Atomic int stop;
};

static struct shared *shared;
static char *pages;
static long page_count, slots, rounds, write_first;
static uint64_t seed;

WORKLOAD_PLACE(attempt_begins)		/* page 0 is in swap, the victim may go */
WORKLOAD_PLACE(aggressor_goes)		/* the aggressor is about to fault the page in itself */
WORKLOAD_PLACE(round_done)		/* a new generation was written, and the page is in swap again */

static struct page_content *page(long index)
{
	return (struct page_content *)(pages + index * page_size);
}

static void report_lost(long index, uint64_t expected, uint64_t found)
{
	report("symptom",
	       ",\"name\":\"lost update\",\"page\":%ld,\"address\":\"%p\",\"expected\":%llu,"
	       "\"found\":%llu", index, (void *)page(index), (unsigned long long)expected,
	       (unsigned long long)found);
}

static void check_address(long index)
{
	uint64_t found = page(index)->address;

	if (found != (uint64_t)(uintptr_t)page(index))
		report("symptom",
		       ",\"name\":\"foreign page\",\"page\":%ld,\"address\":\"%p\",\"found\":\"%#llx\"",
		       index, (void *)page(index), (unsigned long long)found);
}

static _Noreturn void be_victim(pid_t aggressor)
{
	char *dummy = anonymous(page_size, MAP_PRIVATE);
	uint64_t header[2];
	struct iovec local = { header, sizeof header };
	struct iovec remote = { page(0), sizeof header };
	long done = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pin_to(VICTIM_CPU);
	while (!shared->stop) {
		long turn = shared->turn;

		if (turn == done)
			continue;
		if (process_vm_readv(aggressor, &local, 1, &remote, 1, 0) != sizeof header)
			shared->failures++;
		drain_lru_batch(dummy);
		shared->finished = done = turn;
	}
	_exit(0);
}

/* Writes the next generation after checking the last one; 1 if that was not there any more. */
static int write_generation(uint64_t *generation)
{
	if (write_first)
		page(0)->words[0] = *generation;

	uint64_t found = page(0)->generation;
	int lost = found != *generation;

	if (lost)
		report_lost(0, *generation, found);
	check_address(0);
	page(0)->generation = ++*generation;
	return lost;
}

/* The aggressor's side of one attempt: 1 lost update, 0 none, -1 not carried out. */
static int attempt(long number, uint64_t *generation)
{
	int lost;

	if (!swap_out(page(0)))
		return -1;
	attempt_begins();
	shared->turn = number;
	aggressor_goes();
	lost = write_generation(generation);
	for (long round = 1; round <= rounds; round++) {
		if (!swap_out(page(0))) {
			lost = lost ? lost : -1;
			break;
		}
		round_done();
		if (round < rounds)
			lost |= write_generation(generation);
	}
	while (shared->finished != number)
		sched_yield();
	if (page(0)->generation != *generation) {
		report_lost(0, *generation, page(0)->generation);
		page(0)->generation = *generation;
		lost = 1;
	}
	return lost;
}

static void run_forced(long attempts)
{
	uint64_t generation = 1, random = seed;
	long lost = 0, failed = 0;
	double last_beat = 0;
	long fillers = swap_slots() - slots;

	if (fillers < 0)
		fail_to_run("%ld free slots asked, but swap has only %ld", slots, swap_slots());
	page_count = 1 + fillers;
	pages = anonymous(page_count * page_size, MAP_PRIVATE);
	madvise(pages, (size_t)(page_count * page_size), MADV_NOHUGEPAGE);
	prctl(PR_SET_DUMPABLE, 1);
	pid_t aggressor = getpid();
	pid_t victim = fork();

	if (victim < 0)
		fail_to_run("fork: %s", strerror(errno));
	if (victim == 0)
		be_victim(aggressor);
	pin_to(AGGRESSOR_CPU);
	/* the allocator comes round in as many steps as there are slots left */
	swap_out_fillers((char *)page(1), fillers);
	page(0)->address = (uint64_t)(uintptr_t)page(0);
	page(0)->generation = generation;
	for (long number = 1; number <= attempts; number++) {
		int outcome = attempt(number, &generation);

		lost += outcome > 0;
		failed += outcome < 0;
		report("attempt", ",\"n\":%ld,\"outcome\":\"%s\"", number,
		       outcome > 0 ? "reproduced" : outcome < 0 ? "failed" : "survived");
		if (seconds_since_start() - last_beat > 0.5) {
			last_beat = seconds_since_start();
			report("heartbeat", ",\"operations\":%ld", number);
		}
		spin_for((double)(next_random(&random) % 100) * 1e-6);
	}
	shared->stop = 1;
	waitpid(victim, NULL, 0);
	if (shared->failures)
		fail_to_run("%ld reads by the victim failed", (long)shared->failures);
	report("done", ",\"operations\":%ld,\"lost\":%ld,\"failed\":%ld", attempts, lost, failed);
}

static _Atomic long operations, lost_updates;
static _Atomic int stop_workers;

/* Each worker owns one word of every page: with a single writer, a re-read must give its last value. */
static void *worker(void *argument)
{
	long me = (long)argument;
	uint64_t last[MAX_PAGES] = { 0 }, generation = 0;

	while (!stop_workers) {
		generation++;
		for (long k = 0; k < page_count && !stop_workers; k++) {
			long index = me & 1 ? page_count - 1 - k : k;
			uint64_t found = page(index)->words[me];

			if (found != last[index]) {
				report_lost(index, last[index], found);
				lost_updates++;
			}
			check_address(index);
			page(index)->words[me] = last[index] = generation;
			operations++;
		}
	}
	return NULL;
}

static void *push_out_for_ever(void *argument)
{
	(void)argument;
	while (!stop_workers)
		advise(pages, page_count * page_size, MADV_PAGEOUT, "MADV_PAGEOUT");
	return NULL;
}

static void run_free(long workers, double seconds)
{
	pthread_t threads[MAX_WORKERS + 1];
	double last_beat = 0;

	pages = anonymous(page_count * page_size, MAP_PRIVATE);
	madvise(pages, (size_t)(page_count * page_size), MADV_NOHUGEPAGE);
	for (long i = 0; i < page_count; i++)
		page(i)->address = (uint64_t)(uintptr_t)page(i);
	for (long i = 0; i < workers; i++)
		if (pthread_create(&threads[i], NULL, worker, (void *)i))
			fail_to_run("pthread_create: %s", strerror(errno));
	if (pthread_create(&threads[workers], NULL, push_out_for_ever, NULL))
		fail_to_run("pthread_create: %s", strerror(errno));
	while (seconds_since_start() < seconds && !lost_updates) {
		usleep(20000);
		if (seconds_since_start() - last_beat > 0.5) {
			last_beat = seconds_since_start();
			report("heartbeat", ",\"operations\":%ld", (long)operations);
		}
	}
	stop_workers = 1;
	for (long i = 0; i <= workers; i++)
		pthread_join(threads[i], NULL);
	report("done", ",\"operations\":%ld,\"lost\":%ld", (long)operations, (long)lost_updates);
}

int main(int argc, char **argv)
{
	const char *mode = argument(argc, argv, "mode", "forced");
	long workers = number(argc, argv, "workers", 6);

	start_workload();
	page_size = sysconf(_SC_PAGESIZE);
	seed = (uint64_t)number(argc, argv, "seed", 1);
	slots = number(argc, argv, "slots", 1);
	rounds = number(argc, argv, "rounds", slots);
	write_first = number(argc, argv, "write_first", 0);
	page_count = number(argc, argv, "pages", 16);
	if (slots < 1 || rounds < 1 || workers < 1 || workers > MAX_WORKERS || page_count < 1 ||
	    page_count > MAX_PAGES)
		fail_to_run("slots, rounds, workers (at most %d) and pages (at most %d) must be positive",
			    MAX_WORKERS, MAX_PAGES);
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		fail_to_run("this race needs two vCPUs");
	shared = anonymous(page_size, MAP_SHARED);
	open_pagemap();
	if (!strcmp(mode, "forced"))
		run_forced(number(argc, argv, "attempts", 25));
	else if (!strcmp(mode, "free"))
		run_free(workers, (double)number(argc, argv, "seconds", 20));
	else
		fail_to_run("mode: expected forced or free, found %s", mode);
	return 0;
}
