/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two threads, each on a CPU of its own, have the kernel make a mistake (/proc/mistake) for a while.
 */
#include "harness_workload.h"

#include <fcntl.h>

static const char *word;
static long milliseconds;
static atomic_long made;

static void *make_mistakes(void *cpu)
{
	int file = open("/proc/mistake", O_WRONLY);
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET((int)(intptr_t)cpu, &one);
	if (file < 0 || sched_setaffinity(0, sizeof one, &one))
		fail_to_run("/proc/mistake or CPU %d: %s", (int)(intptr_t)cpu, strerror(errno));
	while (seconds_since_start() * 1e3 < (double)milliseconds) {
		if (write(file, word, strlen(word)) < 0)
			fail_to_run("the kernel knows no mistake %s: %s", word, strerror(errno));
		atomic_fetch_add(&made, 1);
	}
	close(file);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[2];

	word = argument(argc, argv, "mistake", "none");
	milliseconds = number(argc, argv, "milliseconds", 3000);
	number(argc, argv, "seed", 0);
	start_workload();
	for (intptr_t cpu = 0; cpu < 2; cpu++)
		if (pthread_create(&threads[cpu], NULL, make_mistakes, (void *)cpu))
			fail_to_run("no thread");
	while (seconds_since_start() * 1e3 < (double)milliseconds) {
		usleep(200000);
		report("heartbeat", ",\"made\":%ld", atomic_load(&made));
	}
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	report("done", ",\"made\":%ld", atomic_load(&made));
	return 0;
}
