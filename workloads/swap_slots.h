/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pages and swap slots from user land: what the workloads that race with swap-in have in common.
 *
 * Set `page_size` and `pagemap` (open_pagemap()) first. What does not work ends the workload.
 */
#ifndef SWAP_SLOTS_H
#define SWAP_SLOTS_H

#include "harness_workload.h"

#include <fcntl.h>
#include <sys/mman.h>

#ifndef MADV_COLD
#define MADV_COLD 20
#endif
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

static long page_size;
static int pagemap;

static inline void open_pagemap(void)
{
	pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (pagemap < 0)
		fail_to_run("/proc/self/pagemap: %s", strerror(errno));
}

static inline void *anonymous(long bytes, int flags)
{
	void *at = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1, 0);

	if (at == MAP_FAILED)
		fail_to_run("mmap of %ld bytes: %s", bytes, strerror(errno));
	return at;
}

static inline void advise(void *at, long bytes, int advice, const char *name)
{
	if (madvise(at, (size_t)bytes, advice))
		fail_to_run("%s: %s", name, strerror(errno));
}

/* Documentation/admin-guide/mm/pagemap.rst: bit 63 present, 62 swapped, 0-54 the frame or the slot */
static inline uint64_t pagemap_entry(const void *at)
{
	uint64_t entry = 0;
	off_t where = (off_t)((uintptr_t)at / (size_t)page_size * sizeof entry);

	if (pread(pagemap, &entry, sizeof entry, where) != sizeof entry)
		fail_to_run("pagemap: %s", strerror(errno));
	return entry;
}

/* The slot that a page is in, or -1 for one that is not in swap. */
static inline long slot(const void *at)
{
	enum { TYPE_BITS = 5 };
	uint64_t entry = pagemap_entry(at);

	return entry >> 62 & 1 ? (long)((entry & ((1ull << 55) - 1)) >> TYPE_BITS) : -1;
}

/* Pushes a page out until it is in swap; 0 if it will not go. */
static inline int swap_out(void *at)
{
	enum { TRIES = 100 };

	for (int i = 0; i < TRIES; i++) {
		advise(at, page_size, MADV_PAGEOUT, "MADV_PAGEOUT");
		if (slot(at) >= 0)
			return 1;
	}
	return 0;
}

/*
 * A page that was just faulted in waits in its CPU's batch of pages to be put on the LRU list, and
 * no other CPU can push it out from there: any madvise(MADV_COLD) drains the batch of the caller's
 * CPU (lru_add_drain() in mm/madvise.c).
 */
static inline void drain_lru_batch(void *dummy)
{
	madvise(dummy, (size_t)page_size, MADV_COLD);
}

/* How many slots the first swap device has. */
static inline long swap_slots(void)
{
	char line[256];
	long kib = -1;
	FILE *swaps = fopen("/proc/swaps", "r");

	if (!swaps)
		fail_to_run("/proc/swaps: %s", strerror(errno));
	while (fgets(line, sizeof line, swaps))
		if (sscanf(line, "%*s %*s %ld", &kib) == 1 && kib > 0)
			break;
	fclose(swaps);
	if (kib <= 0)
		fail_to_run("no swap device is in use");
	return kib * 1024 / page_size;
}

/*
 * Fillers, pages of different content, go to swap and stay there: of all slots those that are left
 * are handed out in turn, so that the allocator comes round in that many steps.
 */
static inline void swap_out_fillers(char *pages, long count)
{
	enum { TRIES = 200 };
	long out = 0;

	for (long i = 0; i < count; i++)
		memset(pages + i * page_size, 0x40 + (int)i, (size_t)page_size);
	for (int tries = 0; tries < TRIES && out < count; tries++) {
		advise(pages, count * page_size, MADV_PAGEOUT, "MADV_PAGEOUT");
		out = 0;
		for (long i = 0; i < count; i++)
			out += slot(pages + i * page_size) >= 0;
	}
	if (out < count)
		fail_to_run("only %ld of %ld filler pages went to swap", out, count);
}
#endif
