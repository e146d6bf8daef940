/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Copy-on-write under fork and exit: pages that parents and children share are written while
 * children exit at random moments, so that shadow objects are built, shadowed and collapsed.
 * Every page carries its index and a generation, and is checked before each write.
 *
 * Linux and FreeBSD. Arguments beside seed=:
 *
 *   mode=churn   `workers` processes, for `seconds` or `rounds`: fork; the child touches a few of the `pages`
 *                shared pages, waits up to `child_us` microseconds and exits; meanwhile the parent
 *                writes all of them, `order` down, up or random. chain=1: the child forks as well.
 *                neighbours=1: a thread of each worker maps, protects and unmaps pages beside.
 *                pressure_mib=N: another process takes and gives back so much memory all the time,
 *                and each worker names pages that should go first; swap must have room for them.
 *   mode=refuse  `attempts` times: an object O of `pages` pages with two shadows, the parent's and
 *                a child's. The parent's shadow has had `evicted` pages pushed out to swap by
 *                `hog_mib` MiB of memory pressure. A second thread takes the right to write from
 *                each of the other pages just as the parent begins to write it, after `aim_us`
 *                microseconds at most; then the child exits.
 *
 * counter=NAME (FreeBSD): each heartbeat carries this sysctl's value as `counter`.
 *
 * plant=KIND (churn) puts into a page what a broken kernel might, to try the check itself: `stale`,
 * `foreign`, `torn` or `zero` content, or a process that dies: `segv`, `bus`, `kill`.
 *
 * Symptoms: "lost update" (page, expected, found, found_page), "killed" (signal) where a process
 * that did nothing wrong died of SIGSEGV or SIGBUS. Another signal is none, since a kernel without
 * memory kills: the trial cannot tell. What a kernel says of itself is on its console.
 */
#include "harness_workload.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#ifdef __FreeBSD__
#include <sys/sysctl.h>
#endif

enum { MAX_WORKERS = 64, HOG_CHUNK = 1 << 20 };

struct stamp {
	uint64_t index;
	uint64_t generation;
	uint64_t both;		/* of index and generation; at the page's end once more */
};

/* What the processes tell the first one, which prints it. */
struct shared {
	_Atomic uint64_t forks, writes, refused, lost, sigsegv, sigbus, evicted, rounds;
	_Atomic uint64_t steps;	/* of any process that works: the first one only looks on */
	_Atomic int phase;
};

static struct shared *shared;
static pid_t first_process;	/* the others end with it */
static size_t page_bytes;
static uint64_t random_state;

static void *map_pages(size_t pages, int flags)
{
	void *at = mmap(NULL, pages * page_bytes, PROT_READ | PROT_WRITE, flags | MAP_ANON, -1, 0);

	if (at == MAP_FAILED)
		fail_to_run("cannot map %zu pages: %s", pages, strerror(errno));
	return at;
}

static volatile struct stamp *page_at(void *base, size_t index)
{
	return (volatile struct stamp *)((char *)base + index * page_bytes);
}

static void *page_at_plain(void *base, size_t index)
{
	return (char *)base + index * page_bytes;
}

static volatile uint64_t *last_word(void *base, size_t index)
{
	return (volatile uint64_t *)((char *)base + (index + 1) * page_bytes) - 1;
}

static void stamp(void *base, size_t index, uint64_t generation)
{
	volatile struct stamp *page = page_at(base, index);

	page->index = index;
	page->generation = generation;
	page->both = *last_word(base, index) = index * 0x9e3779b97f4a7c15u ^ generation;
}

/* Whether the page is what was last written to it; a symptom is reported where it is not. */
static int intact(void *base, size_t index, uint64_t generation)
{
	volatile struct stamp *page = page_at(base, index);
	struct stamp seen = { page->index, page->generation, page->both };

	if (seen.index == index && seen.generation == generation &&
	    seen.both == (index * 0x9e3779b97f4a7c15u ^ generation) &&
	    seen.both == *last_word(base, index))
		return 1;
	if (atomic_fetch_add(&shared->lost, 1) < 20)
		report("symptom", ",\"name\":\"lost update\",\"page\":%zu,\"expected\":%llu,"
		       "\"found\":%llu,\"found_page\":%llu", index,
		       (unsigned long long)generation, (unsigned long long)seen.generation,
		       (unsigned long long)seen.index);
	return 0;
}

static void wait_us(uint64_t microseconds)
{
	spin_for((double)microseconds / 1e6);
}

static void nap_ms(long milliseconds)
{
	struct timespec nap = { milliseconds / 1000, milliseconds % 1000 * 1000000 };

	nanosleep(&nap, NULL);
}

static pid_t forked(void)
{
	pid_t pid = fork();

	if (pid < 0)
		fail_to_run("fork: %s", strerror(errno));
	if (pid > 0)
		atomic_fetch_add(&shared->forks, 1);
	return pid;
}

/* A process that did nothing wrong must end by itself. */
static void expect_exit(int status, const char *who)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return;
	if (WIFEXITED(status))	/* it has said why */
		exit(WEXITSTATUS(status));
	int signal = WTERMSIG(status);

	if (signal != SIGSEGV && signal != SIGBUS)
		fail_to_run("a %s was ended by signal %d: has the guest run out of memory?", who,
			    signal);
	if (atomic_fetch_add(signal == SIGSEGV ? &shared->sigsegv : &shared->sigbus, 1) < 20)
		report("symptom", ",\"name\":\"killed\",\"who\":\"%s\",\"signal\":%d", who, signal);
}

static void reap(pid_t pid, const char *who)
{
	int status;

	while (waitpid(pid, &status, 0) != pid)
		if (errno != EINTR)
			fail_to_run("waitpid: %s", strerror(errno));
	expect_exit(status, who);
}

static int resident(void *base, size_t pages)
{
	char state[256];
	int found = 0;

	for (size_t i = 0; i < pages; i += sizeof state) {
		size_t n = pages - i < sizeof state ? pages - i : sizeof state;

		if (mincore((char *)base + i * page_bytes, n * page_bytes, (void *)state))
			fail_to_run("mincore: %s", strerror(errno));
		for (size_t k = 0; k < n; k++)
			found += state[k] & 1;
	}
	return found;
}

/* Asks the kernel to push pages out; what is in them stays. */
static void give_away(void *base, size_t pages)
{
#ifdef MADV_PAGEOUT
	int advice = MADV_PAGEOUT;
#elif defined(__FreeBSD__)
	int advice = MADV_DONTNEED;	/* the first to go; Linux's would throw them away */
#else
#error "how does this system push pages out?"
#endif

	if (madvise(base, pages * page_bytes, advice))
		fail_to_run("madvise: %s", strerror(errno));
}

/* mode=churn */

struct churn {
	size_t pages;
	double seconds;
	uint64_t child_us;
	const char *order, *plant;
	int chain, neighbours;
	size_t pressure_pages;
	uint64_t rounds;
};

static void churn_child(const struct churn *how, void *base, uint64_t generation, int depth)
{
	uint64_t wait = next_random(&random_state) % (how->child_us + 1);
	size_t mine = next_random(&random_state) % how->pages;
	pid_t below = -1;

	intact(base, mine, generation);
	stamp(base, mine, ~generation);
	if (depth > 0 && (below = forked()) == 0) {
		next_random(&random_state);
		if (!intact(base, mine, ~generation))
			_exit(0);
		stamp(base, mine, generation);
		wait_us(wait / 2);
		_exit(0);
	}
	wait_us(wait);
	intact(base, mine, ~generation);
	if (below > 0)
		reap(below, "grandchild");
	_exit(0);
}

static int churn_orders_known(const char *order)
{
	return !strcmp(order, "down") || !strcmp(order, "up") || !strcmp(order, "random");
}

static size_t nth(const struct churn *how, size_t k, size_t shuffle)
{
	if (!strcmp(how->order, "down"))
		return how->pages - 1 - k;
	if (!strcmp(how->order, "up"))
		return k;
	return (k * 97 + shuffle) % how->pages;
}

static _Atomic int neighbours_stop;

static void *disturb_neighbours(void *argument)
{
	size_t pages = *(const size_t *)argument;
	uint64_t state = (uint64_t)getpid() * 0x9e3779b9u;

	for (uint64_t generation = 1; !neighbours_stop; generation++) {
		void *at = map_pages(pages, MAP_PRIVATE);
		size_t mine = next_random(&state) % pages;

		stamp(at, mine, generation);
		mprotect(page_at_plain(at, mine), page_bytes, PROT_READ);
		wait_us(next_random(&state) % 200);
		intact(at, mine, generation);
		mprotect(page_at_plain(at, mine), page_bytes, PROT_READ | PROT_WRITE);
		stamp(at, mine, ~generation);
		intact(at, mine, ~generation);
		munmap(at, pages * page_bytes);
	}
	return NULL;
}

static _Atomic int *churn_over;	/* shared with the process that presses */

/* Takes memory and gives it back, until the workers have ended. */
static void press(size_t pages)
{
	while (!*churn_over && getppid() == first_process) {
		char *all = map_pages(pages, MAP_PRIVATE);

		for (size_t i = 0; i < pages && !*churn_over; i++)
			all[i * page_bytes] = 1;
		munmap(all, pages * page_bytes);
		nap_ms(20);
	}
	_exit(0);
}

/* Some of a worker's pages should go first. */
static void name_for_eviction(void *base, size_t pages)
{
	size_t first = next_random(&random_state) % pages;
	size_t many = 1 + next_random(&random_state) % (pages - first);

	give_away(page_at_plain(base, first), many);
}

/* What a broken kernel might do to a page that was just written. */
static void plant_in(const struct churn *how, void *base, size_t page, uint64_t generation)
{
	if (!strcmp(how->plant, "stale"))
		stamp(base, page, generation - 1);
	else if (!strcmp(how->plant, "foreign"))
		memcpy(page_at_plain(base, page), page_at_plain(base, page + 1), page_bytes);
	else if (!strcmp(how->plant, "torn"))
		*last_word(base, page) ^= 1;
	else if (!strcmp(how->plant, "zero"))
		memset(page_at_plain(base, page), 0, page_bytes);
	else if (!strcmp(how->plant, "segv"))
		kill(getpid(), SIGSEGV);
	else if (!strcmp(how->plant, "bus"))
		kill(getpid(), SIGBUS);
	else if (!strcmp(how->plant, "kill"))
		kill(getpid(), SIGKILL);
	else
		fail_to_run("plant: expected stale, foreign, torn, zero, segv, bus or kill, found %s",
			    how->plant);
}

static void churn_worker(const struct churn *how)
{
	void *base = map_pages(how->pages, MAP_PRIVATE);
	uint64_t generation = 1;
	size_t few = 8;
	pthread_t thread;

	for (size_t i = 0; i < how->pages; i++)
		stamp(base, i, generation);
	if (how->neighbours && pthread_create(&thread, NULL, disturb_neighbours, &few))
		fail_to_run("pthread_create: %s", strerror(errno));
	while (seconds_since_start() < how->seconds && generation <= how->rounds &&
	       getppid() == first_process) {
		if (how->pressure_pages)
			shared->evicted += how->pages - (size_t)resident(base, how->pages);
		pid_t child = forked();
		size_t shuffle = next_random(&random_state) % how->pages;

		if (child == 0)
			churn_child(how, base, generation, how->chain);
		for (size_t k = 0; k < how->pages; k++) {
			size_t i = nth(how, k, shuffle);

			intact(base, i, generation);
			stamp(base, i, generation + 1);
		}
		generation++;
		if (how->plant && generation == 4)
			plant_in(how, base, how->pages / 2, generation);
		atomic_fetch_add(&shared->writes, how->pages);
		shared->steps++;
		reap(child, "child");
		if (how->pressure_pages)	/* now, while nobody else has them: Linux refuses others */
			name_for_eviction(base, how->pages);
		atomic_fetch_add(&shared->rounds, 1);
	}
	if (how->neighbours) {
		neighbours_stop = 1;
		pthread_join(thread, NULL);
	}
	_exit(0);
}

/* mode=refuse */

struct refuse {
	size_t pages, evicted, hog_pages;
	uint64_t aim_us;
};

enum { AIM_NOBODY = -1, AIM_STOP = -2 };

static _Atomic long aim = AIM_NOBODY;	/* the page that is about to be written */
static _Atomic int refusals;		/* of that page's right to be written, taken away */
static uint64_t refuse_aim_us;
static void *refuse_base;
static sigjmp_buf refused_here;

/* Only the write that was aimed at may be refused; any other death is the kernel's doing. */
static void on_refusal(int number, siginfo_t *info, void *context)
{
	long page = aim;
	size_t offset = (size_t)((char *)info->si_addr - (char *)refuse_base);

	(void)context;
	if (page >= 0 && offset / page_bytes == (size_t)page)
		siglongjmp(refused_here, 1);
	signal(number, SIG_DFL);	/* and once more, which ends the process */
}

/* The thread that changes the map under the parent's write. */
static void *refuse_writes(void *argument)
{
	uint64_t state = *(const uint64_t *)argument;
	long page;

	while ((page = aim) != AIM_STOP) {
		if (page == AIM_NOBODY)
			continue;
		wait_us(next_random(&state) % (refuse_aim_us + 1));
		if (mprotect((char *)refuse_base + page * page_bytes, page_bytes, PROT_READ))
			fail_to_run("mprotect: %s", strerror(errno));
		refusals = 1;
		while (aim == page)
			;
		if (mprotect((char *)refuse_base + page * page_bytes, page_bytes,
			     PROT_READ | PROT_WRITE))
			fail_to_run("mprotect: %s", strerror(errno));
		refusals = 0;
	}
	return NULL;
}

/* Pushes the first pages out to swap, with a process that takes all the memory there is. */
static void evict(void *base, size_t pages, size_t hog_pages)
{
	give_away(base, pages);
	pid_t hog = forked();

	if (hog == 0) {
		char *all = map_pages(hog_pages, MAP_PRIVATE);

		for (size_t i = 0; i < hog_pages; i++) {
			all[i * page_bytes] = 1;
			if (i % (HOG_CHUNK / page_bytes))
				continue;
			shared->steps++;
			if (!resident(base, pages))
				break;
		}
		_exit(0);
	}
	while (waitpid(hog, NULL, WNOHANG) == 0)
		nap_ms(5);
	if (resident(base, pages))
		fail_to_run("%d of %zu pages are still resident after %zu pages of pressure: is there "
			    "swap, and is hog_mib enough?", resident(base, pages), pages, hog_pages);
	atomic_fetch_add(&shared->evicted, pages);
}

static void refuse_attempt(const struct refuse *how)
{
	void *base = refuse_base = map_pages(how->pages, MAP_PRIVATE);
	_Atomic int *child_may_exit = map_pages(1, MAP_SHARED);
	uint64_t seed = next_random(&random_state);
	struct sigaction action;
	pthread_t thread;
	size_t refused = 0;

	refuse_aim_us = how->aim_us;
	for (size_t i = 0; i < how->pages; i++)
		stamp(base, i, 1);
	pid_t parent = getpid(), child = forked();

	if (child == 0) {
		stamp(base, how->pages - 1, 2);	/* a shadow of its own */
		*child_may_exit = 1;
		while (*child_may_exit != 2 && getppid() == parent)
			nap_ms(1);
		_exit(intact(base, how->pages - 1, 2) ? 0 : 3);
	}
	for (size_t i = 0; i < how->evicted; i++)
		stamp(base, i, 2);
	evict(base, how->evicted, how->hog_pages);
	for (size_t i = how->evicted; i < how->pages; i++)
		intact(base, i, 1);	/* maps O's page, read-only */
	while (*child_may_exit != 1)
		nap_ms(1);
	memset(&action, 0, sizeof action);
	action.sa_sigaction = on_refusal;
	action.sa_flags = SA_NODEFER | SA_SIGINFO;
	sigaction(SIGSEGV, &action, NULL);
	if (pthread_create(&thread, NULL, refuse_writes, &seed))
		fail_to_run("pthread_create: %s", strerror(errno));
	for (size_t i = how->evicted; i < how->pages; i++) {
		aim = (long)i;
		if (sigsetjmp(refused_here, 1) == 0)
			page_at(base, i)->generation = 1;	/* changes nothing but the page's owner */
		else
			refused++;
		while (!refusals)
			;
		aim = AIM_NOBODY;
		while (refusals)
			;
		shared->steps++;
	}
	aim = AIM_STOP;
	pthread_join(thread, NULL);
	signal(SIGSEGV, SIG_DFL);
	atomic_fetch_add(&shared->refused, refused);
	*child_may_exit = 2;
	reap(child, "child");
	for (size_t i = 0; i < how->pages; i++)
		intact(base, i, i < how->evicted ? 2 : 1);
	atomic_fetch_add(&shared->rounds, 1);
	report("attempt", ",\"outcome\":\"%s\",\"refused\":%zu", refused ? "survived" : "failed",
	       refused);
	_exit(0);
}

/* the first process: starts the others, and tells that they are alive */

static const char *counter;

static unsigned long long counted(void)
{
	uint64_t value = 0;
#ifdef __FreeBSD__
	size_t size = sizeof value;

	if (counter && sysctlbyname(counter, &value, &size, NULL, 0))
		fail_to_run("counter %s: %s", counter, strerror(errno));
#else
	if (counter)
		fail_to_run("counter: there are none here but on FreeBSD");
#endif
	return value;	/* little endian: a narrower one fills the lower bytes */
}

static void heartbeat(const char *event)
{
	report(event, ",\"progress\":%llu,\"forks\":%llu,\"writes\":%llu,\"rounds\":%llu,\"refused\":%llu,"
	       "\"evicted\":%llu,\"lost\":%llu,\"sigsegv\":%llu,\"sigbus\":%llu,"
	       "\"counter\":%llu",
	       (unsigned long long)shared->steps, (unsigned long long)shared->forks,
	       (unsigned long long)shared->writes,
	       (unsigned long long)shared->rounds, (unsigned long long)shared->refused,
	       (unsigned long long)shared->evicted, (unsigned long long)shared->lost,
	       (unsigned long long)shared->sigsegv, (unsigned long long)shared->sigbus, counted());
}

/* Waits for so many children; the one that is no worker must outlive them. */
static void wait_for(size_t children, pid_t presser)
{
	double said = 0;

	while (children > 0) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG);

		if (pid > 0 && pid == presser) {
			expect_exit(status, "presser");
			fail_to_run("the process that takes memory has ended by itself");
		} else if (pid > 0) {
			expect_exit(status, "worker");
			children--;
		} else {
			nap_ms(20);
		}
		if (seconds_since_start() - said >= 0.5) {
			said = seconds_since_start();
			heartbeat("heartbeat");
		}
	}
}

int main(int argc, char **argv)
{
	const char *mode = argument(argc, argv, "mode", "churn");
	long workers = number(argc, argv, "workers", 2);
	long attempts = number(argc, argv, "attempts", 5);
	struct churn churn = {
		.pages = (size_t)number(argc, argv, "pages", 256),
		.seconds = (double)number(argc, argv, "seconds", 30),
		.child_us = (uint64_t)number(argc, argv, "child_us", 3000),
		.order = argument(argc, argv, "order", "down"),
		.chain = (int)number(argc, argv, "chain", 0),
		.neighbours = (int)number(argc, argv, "neighbours", 0),
		.rounds = (uint64_t)number(argc, argv, "rounds", INT32_MAX),
		.plant = argument(argc, argv, "plant", NULL),
	};
	struct refuse refuse = {
		.pages = (size_t)number(argc, argv, "pages", 64),
		.evicted = (size_t)number(argc, argv, "evicted", 16),
		.aim_us = (uint64_t)number(argc, argv, "aim_us", 60),
	};

	page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	churn.pressure_pages =
		(size_t)number(argc, argv, "pressure_mib", 0) * ((1 << 20) / page_bytes);
	refuse.hog_pages = (size_t)number(argc, argv, "hog_mib", 256) * ((1 << 20) / page_bytes);
	counter = argument(argc, argv, "counter", NULL);
	random_state = (uint64_t)number(argc, argv, "seed", 1);
	if (workers < 1 || workers > MAX_WORKERS)
		fail_to_run("workers: expected 1 to %d, found %ld", MAX_WORKERS, workers);
	if (!churn_orders_known(churn.order))
		fail_to_run("order: expected down, up or random, found %s", churn.order);
	if (churn.pages < 2 || refuse.evicted < 1 || refuse.evicted >= refuse.pages)
		fail_to_run("pages: expected at least 2, and more than evicted");
	shared = map_pages(1, MAP_SHARED);
	first_process = getpid();
	start_workload();
	if (!strcmp(mode, "churn")) {
		pid_t presser = -1;

		churn_over = map_pages(1, MAP_SHARED);
		if (churn.pressure_pages && (presser = forked()) == 0)
			press(churn.pressure_pages);
		for (long i = 0; i < workers; i++) {
			uint64_t state = next_random(&random_state);

			if (forked() == 0) {
				random_state = state;
				churn_worker(&churn);
			}
		}
		wait_for((size_t)workers, presser);
		*churn_over = 1;
		if (presser > 0)
			reap(presser, "presser");
	} else if (!strcmp(mode, "refuse")) {
		for (long i = 0; i < attempts; i++) {
			uint64_t state = next_random(&random_state);

			if (forked() == 0) {
				random_state = state;
				refuse_attempt(&refuse);
			}
			wait_for(1, -1);
		}
	} else {
		fail_to_run("mode: expected churn or refuse, found %s", mode);
	}
	heartbeat("done");
	return 0;
}
