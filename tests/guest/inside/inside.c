/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Calls the kernel again and again and tells what became of it: for failpoints that are set inside
 * the guest.
 *
 * With mode=swap it also writes pages, pushes them out and reads them back.
 */
#define _GNU_SOURCE
#include "harness_workload.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define PAGES 16
#define BLOCK 4096

static double now(void) { return seconds_since_start(); }

/* Each returns 0, or -1 with errno. */

static int make_folder(void)
{
	static long number;
	char name[64];

	snprintf(name, sizeof name, "/tmp/d%ld", number++);
	if (mkdir(name, 0700))
		return -1;
	rmdir(name);	/* may fail, too, where memory does */
	return 0;
}

/* a page for the pipe's first buffer, from alloc_page(GFP_HIGHUSER) */
static int fill_pipe(void)
{
	int ends[2], result = -1;

	if (pipe(ends))
		fail_to_run("pipe: %s", strerror(errno));
	if (write(ends[1], "x", 1) == 1)
		result = 0;
	close(ends[0]);
	close(ends[1]);
	return result;
}

static int wake_nobody(void)
{
	static int word;

	return (int)syscall(SYS_futex, &word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* past the page cache, so that each one is a request to the device */
static int read_block(void)
{
	static char block[BLOCK] __attribute__((aligned(BLOCK)));
	static int device = -1;

	if (device < 0 && (device = open("/dev/zram0", O_RDONLY | O_DIRECT)) < 0)
		fail_to_run("/dev/zram0: %s", strerror(errno));
	return pread(device, block, BLOCK, 0) == BLOCK ? 0 : -1;
}

static const struct {
	const char *name;
	int (*call)(void);
} calls_of[] = {
	{ "mkdir", make_folder }, { "pipe", fill_pipe }, { "futex", wake_nobody }, { "read", read_block },
};

static double swap_out_and_in(void)
{
	double longest = 0;
	volatile char *memory = mmap(NULL, PAGES * BLOCK, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (int page = 0; page < PAGES; page++)
		memory[page * BLOCK] = (char)(page + 1);
	if (madvise((void *)memory, PAGES * BLOCK, MADV_PAGEOUT))
		fail_to_run("MADV_PAGEOUT: %s", strerror(errno));
	for (int page = 0; page < PAGES; page++) {
		double begin = now();

		if (memory[page * BLOCK] != (char)(page + 1))
			report("symptom", ",\"name\":\"page lost\"");
		if (now() - begin > longest)
			longest = now() - begin;
	}
	return longest;
}

int main(int argc, char **argv)
{
	long calls = number(argc, argv, "calls", 200);
	const char *name = argument(argc, argv, "call", "mkdir");
	int swaps = !strcmp(argument(argc, argv, "mode", "calls"), "swap");
	long refused = 0, last_errno = 0;
	double beat = 0, longest = 0, longest_swap = 0;
	int (*call)(void) = NULL;

	for (unsigned i = 0; i < sizeof calls_of / sizeof *calls_of; i++)
		if (!strcmp(calls_of[i].name, name))
			call = calls_of[i].call;
	if (call == NULL)
		fail_to_run("call=%s: there is no such call", name);
	number(argc, argv, "seed", 0);
	start_workload();
	for (long i = 0; i < calls; i++) {
		double begin = now();

		if (call()) {
			last_errno = errno;
			refused++;
		}
		if (now() - begin > longest)
			longest = now() - begin;
		if (now() - beat > 0.5) {
			beat = now();
			report("heartbeat", ",\"operations\":%ld", i);
		}
	}
	if (swaps)
		longest_swap = swap_out_and_in();
	if (refused)
		report("symptom", ",\"name\":\"refused\",\"errno\":%ld,\"times\":%ld", last_errno,
		       refused);
	report("done", ",\"calls\":%ld,\"refused\":%ld,\"errno\":%ld,\"longest_ms\":%.3f,"
	       "\"longest_swap_ms\":%.3f", calls, refused, last_errno, longest * 1e3,
	       longest_swap * 1e3);
	return 0;
}
