/* SPDX-License-Identifier: BSD-2-Clause */
/* Hangs of every kind, for test_hangs.py: `hang kind=stall`, idle, user, kernel, flood or panic. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0) {
		perror(path);
		exit(2);
	}
	close(fd);
}

/* A real-time task on each CPU, so that init does not get to run. */
static void take_all_cpus(void)
{
	struct sched_param first = { .sched_priority = 50 };
	cpu_set_t one;

	put("/proc/sys/kernel/sched_rt_runtime_us", "-1");
	for (int cpu = 1; cpu < sysconf(_SC_NPROCESSORS_ONLN); cpu++) {
		if (fork())
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		sched_setaffinity(0, sizeof one, &one);
		sched_setscheduler(0, SCHED_FIFO, &first);
		return;
	}
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	sched_setaffinity(0, sizeof one, &one);
	sched_setscheduler(0, SCHED_FIFO, &first);
}

int main(int argc, char **argv)
{
	const char *kind = "";

	for (int i = 1; i < argc; i++)
		if (!strncmp(argv[i], "kind=", 5))
			kind = argv[i] + 5;
	puts("{\"event\":\"start\",\"t\":0.0}");
	fflush(stdout);
	if (!strcmp(kind, "stall"))
		pause();
	if (!strcmp(kind, "idle")) {
		mkdir("/cgroup", 0755);
		mount("none", "/cgroup", "cgroup2", 0, NULL);
		mkdir("/cgroup/frozen", 0755);
		put("/cgroup/frozen/cgroup.procs", "1");
		put("/cgroup/frozen/cgroup.freeze", "1");
		pause();
	}
	if (!strcmp(kind, "user")) {
		take_all_cpus();
		for (;;)
			;
	}
	if (!strcmp(kind, "kernel")) {
		size_t size = 32 << 20;
		char *buffer = mmap(NULL, size, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		int zero = open("/dev/zero", O_RDONLY);

		take_all_cpus();
		while (read(zero, buffer, size) > 0)
			;
	}
	if (!strcmp(kind, "flood"))
		for (;;)
			put("/dev/kmsg", "flood flood flood flood flood flood flood flood\n");
	if (!strcmp(kind, "panic"))
		put("/proc/sysrq-trigger", "c");
	return 2;
}
