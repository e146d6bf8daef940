/* SPDX-License-Identifier: BSD-2-Clause */
/* A workload's arguments and the lines that it reports, which the control channel sends. */
#include "mach.h"

static int64_t started_seconds, started_nanoseconds;
static char output[16384];
static size_t output_from, output_to;	/* counts since the start; the buffer is a ring */
static struct lock output_lock;

/* A line is kept whole, or waits until the channel has made room for all of it. */
void write_output(const char *data, size_t n)
{
	for (;;) {
		lock(&output_lock);
		if (sizeof output - (output_to - output_from) >= n)
			break;
		unlock(&output_lock);
		sleep_ms(10);
	}
	while (n--)
		output[output_to++ % sizeof output] = *data++;
	unlock(&output_lock);
}

/* Takes what has been written, at most `room` bytes; returns how many. */
int read_output(char *into, size_t room)
{
	size_t n = 0;

	lock(&output_lock);
	while (n < room && output_from < output_to)
		into[n++] = output[output_from++ % sizeof output];
	unlock(&output_lock);
	return (int)n;
}

/* 32-bit programs divide no 64-bit numbers without a library: a guest lives for hours at most. */
static void time_since_start(long *seconds, long *nanoseconds)
{
	int64_t now_seconds = started_seconds, now_nanoseconds = started_nanoseconds;

	host_get_time64(mach_host_self(), &now_seconds, &now_nanoseconds);
	*seconds = (long)(now_seconds - started_seconds);
	*nanoseconds = (long)now_nanoseconds - (long)started_nanoseconds;
	if (*nanoseconds < 0) {
		*seconds -= 1;
		*nanoseconds += 1000000000;
	}
}

unsigned long milliseconds_since_start(void)
{
	long seconds, nanoseconds;

	time_since_start(&seconds, &nanoseconds);
	return (unsigned long)seconds * 1000 + (unsigned long)nanoseconds / 1000000;
}

static void report_list(const char *event, const char *how, va_list values)
{
	char line[1024];
	long seconds, nanoseconds;

	time_since_start(&seconds, &nanoseconds);
	int n = format(line, sizeof line, "{\"event\":\"%s\",\"t\":%ld.%06ld", event, seconds,
		       nanoseconds / 1000);

	n += format_list(line + n, sizeof line - 2 - (size_t)n, how, values);
	line[n++] = '}';
	line[n++] = '\n';
	write_output(line, (size_t)n);
}

void report(const char *event, const char *how, ...)
{
	va_list values;

	va_start(values, how);
	report_list(event, how, values);
	va_end(values);
}

void fail_to_run(const char *how, ...)
{
	char text[512];
	va_list values;

	va_start(values, how);
	format_list(text, sizeof text, how, values);
	va_end(values);
	for (char *c = text; *c; c++)	/* what would end the string, or is not allowed in JSON */
		if (*c == '"' || *c == '\\' || (unsigned char)*c < ' ')
			*c = '\'';
	report("error", ",\"message\":\"%s\"", text);
	workload_ended(2);
	for (;;)
		sleep_ms(1000);
}

void start_workload(void)
{
	host_get_time64(mach_host_self(), &started_seconds, &started_nanoseconds);
	report("start", ",\"processor_sets\":%u", processor_set_count());
}

const char *argument(int argc, char **argv, const char *key, const char *otherwise)
{
	size_t n = length(key);

	for (int i = 1; i < argc; i++)
		if (length(argv[i]) > n && !memcmp(argv[i], key, n) && argv[i][n] == '=')
			return argv[i] + n + 1;
	return otherwise;
}

/* A seed is 64 bits wide, which a number is not everywhere; what does not fit wraps around. */
uint64_t seed_of(int argc, char **argv)
{
	const char *text = argument(argc, argv, "seed", "1");
	uint64_t value = 0;

	for (const char *at = text; *at; at++) {
		if (*at < '0' || *at > '9')
			fail_to_run("argument seed: expected a number, found %s", text);
		value = value * 10 + (uint64_t)(*at - '0');
	}
	return value;
}

long number(int argc, char **argv, const char *key, long otherwise)
{
	const char *text = argument(argc, argv, key, NULL), *at = text;
	long value = 0;

	if (!text)
		return otherwise;
	for (; *at >= '0' && *at <= '9'; at++) {
		if (value > (__LONG_MAX__ - (*at - '0')) / 10)
			fail_to_run("argument %s: %s is too large", key, text);
		value = value * 10 + (*at - '0');
	}
	if (at == text || *at)
		fail_to_run("argument %s: expected a number, found %s", key, text);
	return value;
}
