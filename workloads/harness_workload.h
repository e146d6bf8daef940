/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What every workload shares: arguments, seeded randomness, and the lines that the harness reads.
 *
 * A workload is started with `key=value` arguments, `seed=` always among them, and prints one JSON
 * object a line (docs/targets.md): "start", then "heartbeat" at least every second, "attempt" for
 * each sub-trial, "symptom" for what it found wrong with its own data, "error" when it cannot run,
 * and "done" at its end. Times `t` are seconds of the guest's monotonic clock since "start".
 */
#ifndef HARNESS_WORKLOAD_H
#define HARNESS_WORKLOAD_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/*
 * A function for failpoints to be set at: `workload:NAME` in a target. Its first instruction
 * touches no memory, so that it cannot fault and count twice.
 */
#define WORKLOAD_PLACE(name)						\
	__attribute__((noinline, noclone, used, externally_visible))	\
	void name(void) { __asm__ volatile("nop" ::: "memory"); }

static struct timespec workload_started;

static inline double seconds_since_start(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - workload_started.tv_sec) +
	       (double)(now.tv_nsec - workload_started.tv_nsec) / 1e9;
}

/* One line, one write: lines of several processes must not tear each other. */
__attribute__((format(printf, 2, 3)))
static inline void report(const char *event, const char *format, ...)
{
	char line[1024];
	va_list ap;
	int n = snprintf(line, sizeof line, "{\"event\":\"%s\",\"t\":%.6f", event,
			 seconds_since_start());

	va_start(ap, format);
	n += vsnprintf(line + n, sizeof line - 3 - (size_t)n, format, ap);
	va_end(ap);
	if (n > (int)sizeof line - 4)
		n = sizeof line - 4;
	line[n++] = '}';
	line[n++] = '\n';
	if (write(1, line, (size_t)n) != n)
		_exit(2);
}

/* The workload cannot do its work: the trial is void, not survived. */
__attribute__((format(printf, 1, 2), noreturn))
static inline void fail_to_run(const char *format, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	for (char *c = text; *c; c++)	/* what would end the string, or is not allowed in JSON */
		if (*c == '"' || *c == '\\' || (unsigned char)*c < ' ')
			*c = '\'';
	report("error", ",\"message\":\"%s\"", text);
	_exit(2);
}

static inline const char *argument(int argc, char **argv, const char *key, const char *otherwise)
{
	size_t n = strlen(key);

	for (int i = 1; i < argc; i++)
		if (!strncmp(argv[i], key, n) && argv[i][n] == '=')
			return argv[i] + n + 1;
	return otherwise;
}

static inline long number(int argc, char **argv, const char *key, long otherwise)
{
	const char *text = argument(argc, argv, key, NULL);
	char *end;

	if (!text)
		return otherwise;
	errno = 0;
	long value = strtol(text, &end, 0);

	if (errno || end == text || *end)
		fail_to_run("argument %s: expected a number, found %s", key, text);
	return value;
}

static inline void start_workload(void)
{
	clock_gettime(CLOCK_MONOTONIC, &workload_started);
	report("start", ",\"pid\":%d", (int)getpid());
}

/* splitmix64 (Steele, Lea and Flood, OOPSLA 2014) */
static inline uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static inline void pin_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof set, &set))
		fail_to_run("cannot run on CPU %d: %s", cpu, strerror(errno));
}

static inline void spin_for(double seconds)
{
	for (double end = seconds_since_start() + seconds; seconds_since_start() < end;)
		;
}
#endif
