/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Swap-in race of 2010: is a page that came back from swap ever one of an older generation?
 *
 * The aggressor owns one private page and writes generations into it. A victim, a process on
 * another vCPU, reads it with process_vm_readv() and so faults on the same swap entry A. Whoever
 * faults finds A's page, P, in the swap cache. The aggressor goes on while the victim is inside the
 * fault: it gets a page of its own, writes, lets go of what else keeps slot A, and has the page
 * pushed out `rounds` times. The allocator goes round the `slots` free slots, so after that many
 * times the page is in slot A again, and pte_same() cannot tell the victim that A is another A.
 *
 * half=copy     A was the slot of a page that KSM had merged from two addresses. Reading it at the
 *               first of them (the twin) makes P that one's; the other needs a copy of P. Unmapping
 *               the twin frees slot A.
 * half=recheck  No KSM. A forked child shares the entry, MADV_WILLNEED brings P into the swap
 *               cache, and the child's end takes it out and frees slot A.
 *
 * Failpoints decide the order; the functions marked WORKLOAD_PLACE are for them. The swap device
 * must not be one that skips the swap cache (zram, brd): there another race does the same.
 *
 * Arguments: seed, half, attempts, slots, rounds (default: slots).
 */
#include "swap_slots.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define KSM_RUN "/sys/kernel/mm/ksm/run"
#define CGROUP "/sys/fs/cgroup/race/"
#define CLEAR_REFS "/proc/self/clear_refs"

enum { VICTIM_CPU = 0, AGGRESSOR_CPU = 1, WORDS = 510, MAX_ROUNDS = 64 };

/* All words hold the generation: a page of two generations, or of something else, is seen. */
struct page_content {
	uint64_t address;
	uint64_t words[1 + WORDS];
};

/* What aggressor and victim process share; the page itself is the aggressor's own. */
struct shared {
	_Atomic long turn;		/* attempt that the victim may start */
	_Atomic long finished;		/* attempt whose swap-in the victim has finished */
	_Atomic int unread;		/* the last read did not return a whole page header */
	_Atomic int stop;
};

static struct shared *shared;
static char *twin, *subject;		/* two pages of one mapping; `subject` is the page in question */
static long slots, rounds;
static int memory_high = -1, clear_refs = -1;
static int merged;			/* half=copy */
static pid_t child;			/* half=recheck: shares the subject's swap entry */
static uint64_t generation;		/* the last that was written */

WORKLOAD_PLACE(attempt_begins)		/* P is in the swap cache, the victim may go */
WORKLOAD_PLACE(aggressor_goes)		/* the aggressor is about to fault the page in itself */
WORKLOAD_PLACE(slot_freed)		/* the aggressor has a page of its own, nobody needs slot A */
WORKLOAD_PLACE(victim_done)		/* the victim's fault is over */
WORKLOAD_PLACE(round_done)		/* a new generation was written, and the page is in swap again */

static int open_for_writing(const char *path)
{
	int file = open(path, O_WRONLY | O_CLOEXEC);

	if (file < 0)
		fail_to_run("%s: %s", path, strerror(errno));
	return file;
}

static void put(int file, const char *path, const char *text)
{
	if (pwrite(file, text, strlen(text), 0) != (ssize_t)strlen(text))
		fail_to_run("%s to %s: %s", text, path, strerror(errno));
}

static int same_frame(const char *one, const char *other)
{
	uint64_t entry = pagemap_entry(one), mask = 1ull << 63 | ((1ull << 55) - 1);

	return entry >> 63 && (entry & mask) == (pagemap_entry(other) & mask);
}

static void write_generation(char *at, uint64_t value)
{
	struct page_content *content = (struct page_content *)at;

	content->address = (uint64_t)(uintptr_t)subject;
	for (int i = 0; i <= WORDS; i++)
		content->words[i] = value;
}

/*
 * Reads the subject: 1 and a symptom if it is not what was written last. `first` is the attempt's
 * first generation, which was in slot A when the victim began: to find that one is the race.
 */
static int check(long number, uint64_t first)
{
	const volatile struct page_content *content = (struct page_content *)subject;
	uint64_t found = content->words[0], address = content->address;
	const char *name = "lost update";

	for (int i = 1; i <= WORDS; i++)
		if (content->words[i] != found)
			name = "junk";
	if (address != (uint64_t)(uintptr_t)subject)
		name = "foreign page";
	else if (!strcmp(name, "lost update")) {
		if (found == generation)
			return 0;
		if (found == first)
			name = merged ? "stale copy" : "stale page";
	}
	report("symptom",
	       ",\"name\":\"%s\",\"attempt\":%ld,\"address\":\"%p\",\"expected\":%llu,\"found\":%llu",
	       name, number, (void *)subject, (unsigned long long)generation,
	       (unsigned long long)found);
	return 1;
}

static int wait_until_merged(void)
{
	enum { TRIES = 2000, PAUSE_US = 500 };
	int run = open_for_writing(KSM_RUN), done = 0;

	put(run, KSM_RUN, "1");
	for (int i = 0; i < TRIES && !done; i++) {
		done = same_frame(twin, subject);
		if (!done)
			usleep(PAUSE_US);
	}
	put(run, KSM_RUN, "0");
	close(run);
	return done && same_frame(twin, subject);
}

/*
 * madvise() leaves a page that is mapped twice alone; the cgroup's limit does not. A page that both
 * mappings have just used would be moved to the active list first, where a group of so few pages
 * is not looked for victims.
 */
static int push_out_merged(void)
{
	enum { TRIES = 20 };

	for (int i = 0; i < TRIES; i++) {
		put(clear_refs, CLEAR_REFS, "1");
		put(memory_high, CGROUP "memory.high", "0");
		put(memory_high, CGROUP "memory.high", "max");
		if (slot(subject) >= 0 && slot(twin) == slot(subject))
			return 1;
	}
	return 0;
}

/* Up to the moment before the faults: P is in the swap cache. NULL, or what did not come about. */
static const char *prepare(void)
{
	/* new pages: one that came back from swap may be on the active list */
	advise(twin, 2 * page_size, MADV_DONTNEED, "MADV_DONTNEED");
	generation++;
	write_generation(subject, generation);
	if (!merged) {
		if (!swap_out(subject))
			return "the page does not go to swap";
		child = fork();
		if (child < 0)
			fail_to_run("fork: %s", strerror(errno));
		if (child == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;)
				pause();
		}
		advise(subject, page_size, MADV_WILLNEED, "MADV_WILLNEED");
		return NULL;
	}
	write_generation(twin, generation);
	if (!wait_until_merged())
		return "KSM does not merge the two pages";
	if (!push_out_merged())
		return "the merged page does not go to swap";
	if (((volatile struct page_content *)twin)->words[0] != generation)
		return "the twin came back with another content";
	return NULL;
}

/* Takes away what besides the subject keeps P in the swap cache, and slot A with it. */
static void free_slot(void)
{
	if (merged) {
		advise(twin, page_size, MADV_DONTNEED, "MADV_DONTNEED");
		return;
	}
	kill(child, SIGKILL);
	if (waitpid(child, NULL, 0) != child)
		fail_to_run("waitpid: %s", strerror(errno));
}

struct outcome {
	int wrong;			/* checks that found something else than was written last */
	const char *failed;		/* what did not come about, or NULL */
	long slots[1 + MAX_ROUNDS];	/* A, then where each round put the page */
	long known;			/* how many of them there are */
};

static struct outcome attempt(long number, uint64_t *random)
{
	struct outcome outcome = { 0 };
	uint64_t first;

	if ((outcome.failed = prepare()))
		return outcome;
	first = generation;
	outcome.slots[outcome.known++] = slot(subject);
	attempt_begins();
	shared->turn = number;
	spin_for((double)(next_random(random) % 100) * 1e-6);
	aggressor_goes();
	outcome.wrong += check(number, first);
	write_generation(subject, ++generation);
	free_slot();
	slot_freed();
	for (long round = 1; round <= rounds && !outcome.failed; round++) {
		if (round > 1) {
			outcome.wrong += check(number, first);
			write_generation(subject, ++generation);
		}
		if (!swap_out(subject))
			outcome.failed = "the page does not go to swap";
		outcome.slots[outcome.known++] = slot(subject);
		if (!outcome.failed)
			round_done();
	}
	while (shared->finished != number)
		sched_yield();
	if (shared->unread)
		outcome.failed = "the victim could not read the page";
	outcome.wrong += check(number, first);
	return outcome;
}

static _Noreturn void be_victim(pid_t aggressor)
{
	char *dummy = anonymous(page_size, MAP_PRIVATE);
	uint64_t header[2];
	struct iovec local = { header, sizeof header };
	struct iovec remote = { subject, sizeof header };
	long done = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pin_to(VICTIM_CPU);
	while (!shared->stop) {
		long turn = shared->turn;

		if (turn == done) {
			sched_yield();
			continue;
		}
		shared->unread = process_vm_readv(aggressor, &local, 1, &remote, 1, 0) !=
				 sizeof header;
		victim_done();
		drain_lru_batch(dummy);
		shared->finished = done = turn;
	}
	_exit(0);
}

/* Pages of their own occupy all swap slots but `slots`. */
static void fill_swap(void)
{
	long all = swap_slots(), fillers = all - slots;
	char *pages;

	/* from half full on, a page that came in leaves the swap cache and its slot at once */
	if (slots * 2 >= all)
		fail_to_run("%ld free slots asked, but swap has %ld: must be less than half", slots, all);
	pages = anonymous(fillers * page_size, MAP_PRIVATE);
	advise(pages, fillers * page_size, MADV_DONTFORK, "MADV_DONTFORK");
	swap_out_fillers(pages, fillers);
}

/* From here on, what the aggressor touches first is the cgroup's to push out. */
static void join_cgroup(void)
{
	char pid[16];
	int procs = open_for_writing(CGROUP "cgroup.procs");

	memory_high = open_for_writing(CGROUP "memory.high");
	clear_refs = open_for_writing(CLEAR_REFS);
	snprintf(pid, sizeof pid, "%d", (int)getpid());
	put(procs, CGROUP "cgroup.procs", pid);
	close(procs);
}

static pid_t start_victim(void)
{
	pid_t aggressor = getpid(), victim;

	prctl(PR_SET_DUMPABLE, 1);
	victim = fork();
	if (victim < 0)
		fail_to_run("fork: %s", strerror(errno));
	if (victim == 0)
		be_victim(aggressor);
	return victim;
}

static void report_attempt(long number, const struct outcome *outcome)
{
	enum { DIGITS = 8 };
	char text[DIGITS * (1 + MAX_ROUNDS)] = "";

	for (long i = 0, n = 0; i < outcome->known; i++)
		n += snprintf(text + n, DIGITS, "%s%ld", i ? " " : "", outcome->slots[i]);
	report("attempt", ",\"n\":%ld,\"outcome\":\"%s\",\"slots\":\"%s\"%s%s%s", number,
	       outcome->wrong ? "reproduced" : outcome->failed ? "failed" : "survived", text,
	       outcome->failed ? ",\"why\":\"" : "", outcome->failed ? outcome->failed : "",
	       outcome->failed ? "\"" : "");
	report("heartbeat", ",\"operations\":%ld", number);
}

static void run(long attempts, uint64_t random)
{
	long reproduced = 0, failed = 0, came_round = 0;
	pid_t victim = start_victim();

	pin_to(AGGRESSOR_CPU);
	fill_swap();
	if (merged) {
		advise(twin, 2 * page_size, MADV_MERGEABLE, "MADV_MERGEABLE");
		join_cgroup();
	}
	for (long number = 1; number <= attempts; number++) {
		struct outcome outcome = attempt(number, &random);

		reproduced += outcome.wrong > 0;
		failed += !outcome.wrong && outcome.failed;
		came_round += outcome.known > rounds && outcome.slots[0] == outcome.slots[rounds];
		report_attempt(number, &outcome);
	}
	shared->stop = 1;
	waitpid(victim, NULL, 0);
	report("done", ",\"operations\":%ld,\"reproduced\":%ld,\"failed\":%ld,\"came_round\":%ld",
	       attempts, reproduced, failed, came_round);
}

int main(int argc, char **argv)
{
	const char *half = argument(argc, argv, "half", "copy");
	uint64_t seed;

	start_workload();
	page_size = sysconf(_SC_PAGESIZE);
	seed = (uint64_t)number(argc, argv, "seed", 1);
	slots = number(argc, argv, "slots", 7);
	rounds = number(argc, argv, "rounds", slots);
	merged = !strcmp(half, "copy");
	if (!merged && strcmp(half, "recheck"))
		fail_to_run("half: expected copy or recheck, found %s", half);
	if (slots < 1 || rounds < 1 || rounds > MAX_ROUNDS)
		fail_to_run("slots and rounds must be positive, rounds at most %d", MAX_ROUNDS);
	if (sizeof(struct page_content) > (size_t)page_size)
		fail_to_run("pages of %ld bytes are too small", page_size);
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		fail_to_run("this race needs two vCPUs");
	shared = (struct shared *)anonymous(page_size, MAP_SHARED);
	/* another page of the aggressor's that goes to swap would be one free slot less */
	if (mlockall(MCL_CURRENT))
		fail_to_run("mlockall: %s", strerror(errno));
	twin = anonymous(2 * page_size, MAP_PRIVATE);
	subject = twin + page_size;
	open_pagemap();
	run(number(argc, argv, "attempts", 20), seed);
	return 0;
}
