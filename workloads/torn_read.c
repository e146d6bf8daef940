/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Torn read: does a read of two pages of a file return the first page as it was before a write and
 * the second as it was after it?
 *
 * POSIX allows it where the reader takes no lock, as on tmpfs: this is no kernel bug, and the
 * workload is no target. It is there to measure forced orders on every architecture
 * (bench/forced_order.py), since it needs nothing that a packaged kernel does not have.
 *
 * Every attempt, a reader on vCPU 0 reads both pages while a writer on vCPU 1 writes the next
 * generation over them. The functions marked WORKLOAD_PLACE are for failpoints.
 *
 * With locked=1 both take the file's lock (fcntl(2)), as programs must that want whole reads.
 *
 * Arguments: seed, attempts, file, locked.
 */
#include "harness_workload.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { READER_CPU = 0, WRITER_CPU = 1, PAGES = 2 };

struct shared {
	_Atomic long turn;		/* attempt that the reader may start */
	_Atomic long finished;		/* attempt that the reader has finished */
	_Atomic long outcome;		/* of that attempt */
	_Atomic int stop;
};
enum outcome { WHOLE, TORN, FAILED };

static struct shared *shared;
static long words;			/* of one page */
static int file;
static int locked;

WORKLOAD_PLACE(attempt_begins)		/* both pages have the last generation, the reader may go */
WORKLOAD_PLACE(writer_goes)		/* about to write both pages */
WORKLOAD_PLACE(write_done)		/* both pages have the next generation */

static uint64_t *pages(void)
{
	void *at = mmap(NULL, (size_t)(PAGES * words) * sizeof(uint64_t), PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (at == MAP_FAILED)
		fail_to_run("mmap: %s", strerror(errno));
	return at;
}

static ssize_t bytes(void)
{
	return PAGES * words * (ssize_t)sizeof(uint64_t);
}

/* F_RDLCK, F_WRLCK or F_UNLCK on the whole file: a lock of the process, fork does not share it. */
static void lock_as(short type)
{
	struct flock lock = { .l_type = type, .l_whence = SEEK_SET };

	if (locked && fcntl(file, F_SETLKW, &lock))
		fail_to_run("lock: %s", strerror(errno));
}

static enum outcome read_once(uint64_t *into, long number)
{
	lock_as(F_RDLCK);
	ssize_t done = pread(file, into, (size_t)bytes(), 0);
	lock_as(F_UNLCK);
	if (done != bytes())
		return FAILED;
	for (long i = 1; i < PAGES * words; i++)
		if (into[i] != into[0]) {
			report("symptom",
			       ",\"name\":\"torn read\",\"attempt\":%ld,\"word\":%ld,"
			       "\"expected\":%llu,\"found\":%llu", number, i,
			       (unsigned long long)into[0], (unsigned long long)into[i]);
			return TORN;
		}
	return WHOLE;
}

static _Noreturn void be_reader(void)
{
	uint64_t *into = pages();
	long done = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pin_to(READER_CPU);
	while (!shared->stop) {
		long turn = shared->turn;

		if (turn == done)
			continue;
		shared->outcome = read_once(into, turn);
		shared->finished = done = turn;
	}
	_exit(0);
}

static void write_generation(uint64_t *from, long generation)
{
	for (long i = 0; i < PAGES * words; i++)
		from[i] = (uint64_t)generation;
	writer_goes();
	lock_as(F_WRLCK);
	if (pwrite(file, from, (size_t)bytes(), 0) != bytes())
		fail_to_run("write: %s", strerror(errno));
	lock_as(F_UNLCK);
	write_done();
}

static void run(long attempts, uint64_t random)
{
	uint64_t *from = pages();
	long torn = 0, failed = 0;
	double last_beat = 0;

	pin_to(WRITER_CPU);
	if (pwrite(file, from, (size_t)bytes(), 0) != bytes())
		fail_to_run("write: %s", strerror(errno));
	for (long number = 1; number <= attempts; number++) {
		attempt_begins();
		shared->turn = number;
		spin_for((double)(next_random(&random) % 100) * 1e-6);
		write_generation(from, number);
		while (shared->finished != number)
			sched_yield();
		torn += shared->outcome == TORN;
		failed += shared->outcome == FAILED;
		report("attempt", ",\"n\":%ld,\"outcome\":\"%s\"", number,
		       shared->outcome == TORN ? "reproduced" :
		       shared->outcome == FAILED ? "failed" : "survived");
		if (seconds_since_start() - last_beat > 0.5) {
			last_beat = seconds_since_start();
			report("heartbeat", ",\"operations\":%ld", number);
		}
	}
	shared->stop = 1;
	report("done", ",\"operations\":%ld,\"torn\":%ld,\"failed\":%ld", attempts, torn, failed);
}

int main(int argc, char **argv)
{
	const char *path = argument(argc, argv, "file", "/tmp/torn");

	start_workload();
	locked = number(argc, argv, "locked", 0) != 0;
	words = sysconf(_SC_PAGESIZE) / (long)sizeof(uint64_t);
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		fail_to_run("this needs two vCPUs");
	file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (file < 0)
		fail_to_run("%s: %s", path, strerror(errno));
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		fail_to_run("mmap: %s", strerror(errno));
	pid_t reader = fork();
	if (reader < 0)
		fail_to_run("fork: %s", strerror(errno));
	if (reader == 0)
		be_reader();
	run(number(argc, argv, "attempts", 100), (uint64_t)number(argc, argv, "seed", 1));
	waitpid(reader, NULL, 0);
	return 0;
}
