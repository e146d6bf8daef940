/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page migration under a file's readers: is a page ever freed while somebody still holds it?
 *
 * The pages of a file, on a file system whose blocks are smaller than a page, are moved between
 * two memory nodes by move_pages(2) while others fault on a mapping of them and pread(2) them. A
 * page whose reference count is wrong is freed under its users; a kernel with CONFIG_DEBUG_VM says
 * so on the console, which is the symptom. Every page carries its own index, which is checked.
 *
 * mode=forced  batches of attempts: the victim, a process on its own vCPU, waits until page 0 is
 *              under migration (the mover's page table has a migration entry) and then faults on it
 *              (victim=fault, by process_vm_readv of the mover's memory) or reads it from the file
 *              (victim=read). It does not map the file itself: a mapping on a vCPU that is held
 *              would make the mover wait for a TLB flush. Failpoints decide the order; the functions
 *              marked WORKLOAD_PLACE are for them. Before, with nobody looking on, all pages are
 *              moved to and fro `rounds` times: pgmigrate_success and pgmigrate_fail of /proc/vmstat
 *              then tell whether pages can be moved at all. With victim_page=1 the victim uses
 *              another page than the one that is moved.
 * mode=free    `faulters` and `readers` threads against one that moves (mover=move_pages, or
 *              mover=compact: /proc/sys/vm/compact_memory), until `seconds` have gone.
 *
 * Arguments: seed, mode, file, pages, attempts, rounds, victim, victim_page, faulters, readers,
 * mover, seconds.
 */
#include "harness_workload.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

/* linux/mempolicy.h, which libc6-dev alone does not bring */
enum { POLICY_DEFAULT = 0, POLICY_PREFERRED = 1, MOVE_OWN = 1 << 1, MOVE_ALL = 1 << 2 };
enum { MAX_PAGES = 1024, MAX_THREADS = 16, NODES = 2, VICTIM_CPU = 0, MOVER_CPU = 1 };

struct page_content {
	uint64_t index, inverse;
};

/* What mover and victim process share. */
struct shared {
	_Atomic long turn;		/* attempt that the victim watches for */
	_Atomic long moved;		/* attempt whose move_pages() has returned */
	_Atomic long finished;		/* attempt that the victim is done with */
	_Atomic long missed;		/* attempts in which the victim saw no migration */
	_Atomic long failures;		/* reads that did not return a whole page header */
	_Atomic int stop;
};

static struct shared *shared;
static char *map;
static long page_size, page_count, victim_page;
static int file;
static uint64_t seed;
static _Atomic long operations;
static long success_at_start, fail_at_start;

WORKLOAD_PLACE(attempt_begins)	/* the victim watches, the page is about to be moved */
WORKLOAD_PLACE(victim_goes)	/* the victim has seen the migration entry */
WORKLOAD_PLACE(page_moved)	/* move_pages() has returned: moved or not */

static volatile struct page_content *page(long index)
{
	return (volatile struct page_content *)(map + index * page_size);
}

static void check(long index, const char *how, uint64_t found, uint64_t inverse)
{
	if (found != (uint64_t)index || inverse != ~(uint64_t)index)
		report("symptom",
		       ",\"name\":\"wrong data\",\"how\":\"%s\",\"page\":%ld,\"found\":\"%#llx\"",
		       how, index, (unsigned long long)found);
}

static void touch(long index)
{
	check(index, "mapping", page(index)->index, page(index)->inverse);
}

static int read_header(long index)
{
	struct page_content content;

	if (pread(file, &content, sizeof content, (off_t)(index * page_size)) != sizeof content)
		return 0;
	check(index, "pread", content.index, content.inverse);
	return 1;
}

static void schedule_as(int policy)
{
	if (sched_setscheduler(0, policy, &(struct sched_param){ 0 }))
		fail_to_run("sched_setscheduler: %s", strerror(errno));
}

static void write_pages(long count)
{
	char *content = calloc(1, (size_t)page_size);

	if (!content)
		fail_to_run("no memory");
	for (long i = 0; i < count; i++) {
		*(struct page_content *)content = (struct page_content){ (uint64_t)i, ~(uint64_t)i };
		if (pwrite(file, content, (size_t)page_size, (off_t)(i * page_size)) != page_size)
			fail_to_run("pwrite: %s", strerror(errno));
	}
	free(content);
	/*
	 * A page under write-back is not moved.  The worker that ends it has a reference while it wakes
	 * us (end_page_writeback()): one more user, whom nobody asked for.  At the lowest priority we
	 * do not preempt it, and after a sleep it has gone on, however little the host lets it run.
	 */
	schedule_as(SCHED_IDLE);
	if (fsync(file))
		fail_to_run("fsync: %s", strerror(errno));
	usleep(2000);
	schedule_as(SCHED_OTHER);
}

static long vmstat(const char *counter)
{
	char name[64];
	long value, found = -1;
	FILE *counters = fopen("/proc/vmstat", "r");

	if (!counters)
		fail_to_run("/proc/vmstat: %s", strerror(errno));
	while (found < 0 && fscanf(counters, "%63s %ld", name, &value) == 2)
		if (!strcmp(name, counter))
			found = value;
	fclose(counters);
	if (found < 0)
		fail_to_run("/proc/vmstat has no %s: CONFIG_MIGRATION is off", counter);
	return found;
}

static void totals(const char *event)
{
	report(event, ",\"operations\":%ld,\"pgmigrate_success\":%ld,\"pgmigrate_fail\":%ld",
	       (long)operations, vmstat("pgmigrate_success") - success_at_start,
	       vmstat("pgmigrate_fail") - fail_at_start);
}

/*
 * Moves the pages to a node, as far as the kernel is able to: what it refuses is its business. All
 * that the call writes is touched before: a page allocated for it might be the one just freed.
 */
static void move(long first, long count, int node, int flags)
{
	static void *pages[MAX_PAGES];
	static int nodes[MAX_PAGES], status[MAX_PAGES];

	for (long i = 0; i < count; i++) {
		pages[i] = (void *)page(first + i);
		nodes[i] = node;
		status[i] = -1;
	}
	if (syscall(SYS_move_pages, 0, count, pages, nodes, status, flags) < 0)
		fail_to_run("move_pages to node %d: %s", node, strerror(errno));
	operations += count;
}

static void prefer_node(int policy, unsigned long nodes)
{
	if (syscall(SYS_set_mempolicy, policy, policy == POLICY_DEFAULT ? NULL : &nodes,
		    8 * sizeof nodes))
		fail_to_run("set_mempolicy: %s", strerror(errno));
}

/* The node that this CPU's allocations come from. */
static int node_of_new_pages(void)
{
	int node = -1;
	char *new = mmap(NULL, (size_t)page_size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (new == MAP_FAILED)
		fail_to_run("mmap: %s", strerror(errno));
	*new = 1;
	if (syscall(SYS_move_pages, 0, 1, &new, NULL, &node, 0) || node < 0 || node >= NODES)
		fail_to_run("a new page is on node %d, expected one of %d", node, NODES);
	munmap(new, (size_t)page_size);
	return node;
}

/*
 * Documentation/admin-guide/mm/pagemap.rst: bit 62 is "page swapped", and a migration entry is a
 * kind of swap entry.
 */
static int under_migration(int pagemap, long index)
{
	uint64_t entry = 0;
	off_t at = (off_t)((uintptr_t)page(index) / (size_t)page_size * sizeof entry);

	if (pread(pagemap, &entry, sizeof entry, at) != sizeof entry)
		fail_to_run("pagemap: %s", strerror(errno));
	return entry >> 62 & 1;
}

static int fault_on_header(pid_t mover, long index)
{
	struct page_content content;
	struct iovec local = { &content, sizeof content };
	struct iovec remote = { (void *)page(index), sizeof content };

	if (process_vm_readv(mover, &local, 1, &remote, 1, 0) != sizeof content)
		return 0;
	check(index, "mapping", content.index, content.inverse);
	return 1;
}

static _Noreturn void be_victim(pid_t mover, int reads)
{
	char path[64];
	long done = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pin_to(VICTIM_CPU);
	snprintf(path, sizeof path, "/proc/%d/pagemap", (int)mover);
	int pagemap = open(path, O_RDONLY | O_CLOEXEC);

	if (pagemap < 0)
		fail_to_run("%s: %s", path, strerror(errno));
	while (!shared->stop) {
		long turn = shared->turn;
		int seen = 0;

		if (turn == done) {
			sched_yield();
			continue;
		}
		while (!seen && shared->moved != turn)
			seen = under_migration(pagemap, 0);
		if (seen) {
			victim_goes();
			if (!(reads ? read_header(victim_page) :
				      fault_on_header(mover, victim_page)))
				shared->failures++;
		} else {
			shared->missed++;
		}
		shared->finished = done = turn;
	}
	_exit(0);
}

/*
 * A fresh page 0, on the node that is not the mover's: if it is freed under its user, then to a
 * list that the mover's own allocations do not take from at once.
 */
static void renew_page(int far)
{
	if (ftruncate(file, 0))
		fail_to_run("ftruncate: %s", strerror(errno));
	prefer_node(POLICY_PREFERRED, 1ul << far);
	write_pages(1 + victim_page);
	prefer_node(POLICY_DEFAULT, 0);
	touch(0);
}

/* One attempt: 0 the page was looked at under migration and nothing happened, -1 it was not. */
static int attempt(long number, int near)
{
	long missed = shared->missed;

	renew_page(!near);
	shared->turn = number;
	attempt_begins();
	move(0, 1, near, MOVE_ALL);
	page_moved();
	shared->moved = number;
	while (shared->finished != number)
		;
	return shared->missed == missed ? 0 : -1;
}

/*
 * With nobody else using the pages every move succeeds, where their references are counted right.
 * All that an attempt writes is written here once, so that the first attempt needs no page of its
 * own after the fork: it might be the one just freed.
 */
static void move_undisturbed(long rounds)
{
	for (long i = 0; i < page_count; i++)
		touch(i);
	for (long i = 0; i < rounds; i++)
		move(0, page_count, (int)(i + 1) % NODES, MOVE_OWN);
	totals("heartbeat");
	usleep(20000);		/* the line is out before the kernel may die */
}

static void run_forced(long attempts, long rounds, int reads)
{
	uint64_t random = seed;
	long failed = 0;

	if (madvise(map, (size_t)(page_count * page_size), MADV_DONTFORK))
		fail_to_run("MADV_DONTFORK: %s", strerror(errno));
	prctl(PR_SET_DUMPABLE, 1);
	pid_t mover = getpid();
	pid_t victim = fork();

	if (victim < 0)
		fail_to_run("fork: %s", strerror(errno));
	if (victim == 0)
		be_victim(mover, reads);
	pin_to(VICTIM_CPU);	/* failpoints wait for a move on the other vCPU */
	move_undisturbed(rounds);
	pin_to(MOVER_CPU);
	for (long number = 1; number <= attempts; number++) {
		int outcome = attempt(number, node_of_new_pages());

		failed += outcome < 0;
		report("attempt", ",\"n\":%ld,\"outcome\":\"%s\"", number,
		       outcome < 0 ? "failed" : "survived");
		totals("heartbeat");
		spin_for((double)(next_random(&random) % 100) * 1e-6);
	}
	shared->stop = 1;
	waitpid(victim, NULL, 0);
	if (shared->failures)
		fail_to_run("%ld reads by the victim failed", (long)shared->failures);
	totals("done");
}

static _Atomic int stop_threads;

static void *fault_for_ever(void *argument)
{
	uint64_t random = seed + (uint64_t)(uintptr_t)argument;

	while (!stop_threads) {
		touch((long)(next_random(&random) % (uint64_t)page_count));
		operations++;
	}
	return NULL;
}

static void *read_for_ever(void *argument)
{
	uint64_t random = seed + (uint64_t)(uintptr_t)argument;

	while (!stop_threads) {
		if (!read_header((long)(next_random(&random) % (uint64_t)page_count)))
			fail_to_run("pread: %s", strerror(errno));
		operations++;
	}
	return NULL;
}

static void *move_for_ever(void *argument)
{
	(void)argument;
	for (int node = 1; !stop_threads; node = !node)
		move(0, page_count, node, MOVE_OWN);
	return NULL;
}

static void *compact_for_ever(void *argument)
{
	int compact = open("/proc/sys/vm/compact_memory", O_WRONLY | O_CLOEXEC);

	(void)argument;
	if (compact < 0)
		fail_to_run("/proc/sys/vm/compact_memory: %s", strerror(errno));
	while (!stop_threads) {
		if (write(compact, "1", 1) != 1)
			fail_to_run("compact_memory: %s", strerror(errno));
		operations++;
	}
	close(compact);
	return NULL;
}

static void run_free(long faulters, long readers, const char *mover, double seconds)
{
	pthread_t threads[2 * MAX_THREADS + 1];
	long count = 0;

	if (!strcmp(mover, "move_pages"))
		pthread_create(&threads[count++], NULL, move_for_ever, NULL);
	else if (!strcmp(mover, "compact"))
		pthread_create(&threads[count++], NULL, compact_for_ever, NULL);
	else
		fail_to_run("mover: expected move_pages or compact, found %s", mover);
	for (long i = 0; i < faulters + readers; i++, count++)
		if (pthread_create(&threads[count], NULL,
				   i < faulters ? fault_for_ever : read_for_ever, (void *)(i + 1)))
			fail_to_run("pthread_create: %s", strerror(errno));
	while (seconds_since_start() < seconds) {
		totals("heartbeat");
		usleep(100000);
	}
	stop_threads = 1;
	for (long i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	totals("done");
}

int main(int argc, char **argv)
{
	const char *mode = argument(argc, argv, "mode", "forced");
	const char *path = argument(argc, argv, "file", "/mnt/pages");
	const char *victim = argument(argc, argv, "victim", "fault");
	long faulters = number(argc, argv, "faulters", 2), readers = number(argc, argv, "readers", 2);

	start_workload();
	page_size = sysconf(_SC_PAGESIZE);
	seed = (uint64_t)number(argc, argv, "seed", 1);
	page_count = number(argc, argv, "pages", 64);
	victim_page = number(argc, argv, "victim_page", 0);
	if (page_count < 1 || page_count > MAX_PAGES || faulters < 0 || faulters > MAX_THREADS ||
	    readers < 0 || readers > MAX_THREADS)
		fail_to_run("pages must be 1 to %d, faulters and readers 0 to %d", MAX_PAGES,
			    MAX_THREADS);
	if (victim_page < 0 || victim_page >= page_count)
		fail_to_run("victim_page must be one of the %ld pages", page_count);
	if (strcmp(victim, "fault") && strcmp(victim, "read"))
		fail_to_run("victim: expected fault or read, found %s", victim);
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		fail_to_run("this race needs two vCPUs");
	if (access("/sys/devices/system/node/node1", F_OK))
		fail_to_run("this race needs two memory nodes: numa=fake=2 on the command line, or memory_nodes = 2 for the machine");
	file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (file < 0)
		fail_to_run("%s: %s", path, strerror(errno));
	write_pages(page_count);
	map = mmap(NULL, (size_t)(page_count * page_size), PROT_READ, MAP_SHARED, file, 0);
	shared = mmap(NULL, (size_t)page_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	if (map == MAP_FAILED || shared == MAP_FAILED)
		fail_to_run("mmap: %s", strerror(errno));
	success_at_start = vmstat("pgmigrate_success");
	fail_at_start = vmstat("pgmigrate_fail");
	if (!strcmp(mode, "forced"))
		run_forced(number(argc, argv, "attempts", 20), number(argc, argv, "rounds", 4),
			   !strcmp(victim, "read"));
	else if (!strcmp(mode, "free"))
		run_free(faulters, readers, argument(argc, argv, "mover", "move_pages"),
			 (double)number(argc, argv, "seconds", 20));
	else
		fail_to_run("mode: expected forced or free, found %s", mode);
	return 0;
}
