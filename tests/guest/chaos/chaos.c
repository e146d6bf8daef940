/* SPDX-License-Identifier: BSD-2-Clause */
/* A workload that does whatever a test of the harness needs: mode=… says what. */
#include "harness_workload.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <termios.h>

static void beat_for(double seconds)
{
	for (double end = seconds_since_start() + seconds; seconds_since_start() < end;) {
		report("heartbeat", ",\"operations\":1");
		usleep(100000);
	}
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		fail_to_run("%s: %s", path, strerror(errno));
	close(fd);
}

/* Escape sequences, invalid UTF-8, NULs and lines without an end, on the console. */
static void flood(long kib)
{
	static const char nasty[] =
		"\033]0;owned\007\033[2J\033[1;31m\xff\xfe\x80\0\x9b" "5n\033P+q\033\\ BUG\r \b\b";
	static char block[4096];
	int fd = open("/dev/console", O_WRONLY | O_NOCTTY);

	if (fd < 0)
		fail_to_run("/dev/console: %s", strerror(errno));
	for (size_t i = 0; i < sizeof block; i++)
		block[i] = nasty[i % (sizeof nasty - 1)];
	for (long n = 0; n < kib; n += 4) {
		for (size_t at = 0; at < sizeof block;) {
			ssize_t w = write(fd, block + at, sizeof block - at);

			if (w <= 0)
				fail_to_run("write: %s", strerror(errno));
			at += (size_t)w;
		}
		report("heartbeat", ",\"operations\":%ld", n);
	}
	/* what the driver still has would be lost with the guest, which may end at our last word */
	if (tcdrain(fd))
		fail_to_run("tcdrain: %s", strerror(errno));
}

static void babble(void)
{
	static const char junk[] =
		"\033]0;owned\007\xff\xfe not json\n{\"event\":3}\n{\"event\":\"done\"}\n"
		"{\"event\":\"done\",\"t\":1e999}\n[[[[\n{\"event\":\"attempt\",\"t\":1,\"n\":\"\\ud800\"}\n"
		"{\"event\":\"\\u001b[2J\",\"t\":0}\n\0\0\0\n";

	for (int i = 0; i < 50; i++)
		if (write(1, junk, sizeof junk - 1) < 0)
			_exit(2);
}

int main(int argc, char **argv)
{
	const char *mode = argument(argc, argv, "mode", "done");
	const struct rlimit no_core = { 0, 0 };

	setrlimit(RLIMIT_CORE, &no_core);
	if (!strcmp(mode, "never-starts"))
		return 3;
	if (!strcmp(mode, "error"))
		fail_to_run("there is no \033[31mzram\033[0m here");
	start_workload();
	if (!strcmp(mode, "symptom")) {
		report("symptom", ",\"name\":\"chaos\",\"detail\":\"\\u001b]0;owned\\u0007\"");
	} else if (!strcmp(mode, "unknown-symptom")) {
		report("symptom", ",\"name\":\"something else\"");
	} else if (!strcmp(mode, "forever")) {
		beat_for(1e9);
	} else if (!strcmp(mode, "silent")) {
		pause();
	} else if (!strcmp(mode, "segv")) {
		raise(SIGSEGV);
	} else if (!strcmp(mode, "exit")) {
		return 7;
	} else if (!strcmp(mode, "panic")) {
		write_file("/proc/sysrq-trigger", "c");
		pause();
	} else if (!strcmp(mode, "flood")) {
		flood(number(argc, argv, "kib", 64));
	} else if (!strcmp(mode, "babble")) {
		babble();
	} else {
		beat_for((double)number(argc, argv, "ms", 300) / 1000);
	}
	report("done", ",\"operations\":1");
	return 0;
}
