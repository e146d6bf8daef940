/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Makes directories and tells what became of it: for failpoints that are set inside the guest.
 *
 * With mode=swap it also writes pages, pushes them out and reads them back.
 */
#include "harness_workload.h"

#include <sys/mman.h>
#include <sys/stat.h>

#define PAGES 16

static double now(void) { return seconds_since_start(); }

int main(int argc, char **argv)
{
	long calls = number(argc, argv, "calls", 200);
	int swaps = !strcmp(argument(argc, argv, "mode", "mkdir"), "swap");
	long refused = 0, last_errno = 0;
	double beat = 0, longest = 0, longest_swap = 0;

	number(argc, argv, "seed", 0);
	start_workload();
	for (long i = 0; i < calls; i++) {
		char name[64];
		double begin = now();

		snprintf(name, sizeof name, "/tmp/d%ld", i);
		if (mkdir(name, 0700)) {
			last_errno = errno;
			refused++;
		} else {
			rmdir(name);
		}
		if (now() - begin > longest)
			longest = now() - begin;
		if (now() - beat > 0.5) {
			beat = now();
			report("heartbeat", ",\"operations\":%ld", i);
		}
	}
	if (swaps) {
		volatile char *memory = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE,
					     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		for (int page = 0; page < PAGES; page++)
			memory[page * 4096] = (char)(page + 1);
		if (madvise((void *)memory, PAGES * 4096, MADV_PAGEOUT))
			fail_to_run("MADV_PAGEOUT: %s", strerror(errno));
		for (int page = 0; page < PAGES; page++) {
			double begin = now();

			if (memory[page * 4096] != (char)(page + 1))
				report("symptom", ",\"name\":\"page lost\"");
			if (now() - begin > longest_swap)
				longest_swap = now() - begin;
		}
	}
	if (refused)
		report("symptom", ",\"name\":\"mkdir refused\",\"errno\":%ld,\"times\":%ld", last_errno,
		       refused);
	report("done", ",\"calls\":%ld,\"refused\":%ld,\"errno\":%ld,\"longest_ms\":%.3f,"
	       "\"longest_swap_ms\":%.3f", calls, refused, last_errno, longest * 1e3,
	       longest_swap * 1e3);
	return 0;
}
