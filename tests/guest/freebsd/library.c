/* SPDX-License-Identifier: BSD-2-Clause */
/* Tries the small C library in a guest: a "symptom" for each claim that does not hold. */
#include "harness_workload.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/wait.h>
#ifdef __FreeBSD__
#include <sys/sysctl.h>
#endif

static int claims, wrong;

static void claim(int holds, const char *what)
{
	claims++;
	if (holds)
		return;
	wrong++;
	report("symptom", ",\"name\":\"wrong\",\"what\":\"%s\"", what);
}

static void prints(const char *expected, const char *format, ...)
{
	char text[128];
	va_list ap;

	va_start(ap, format);
	int n = vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	claim(!strcmp(text, expected) && n == (int)strlen(expected), expected);
}

static void try_text(void)
{
	char *end, small[4];

	prints("-5 005 5   |  +5", "%d %03d %-4d|%4s", -5, 5, 5, "+5");
	prints("18446744073709551615 ff 0XFF 17", "%lu %x %#X %o", ~0ul, 255u, 255u, 15u);
	prints("-9223372036854775808", "%lld", (long long)1 << 63);
	prints("1.500000 2.0 -0.25 100 0.333", "%f %.1f %.2f %.0f %.3g", 1.5, 1.96, -0.25, 99.7, 1 / 3.0);
	prints("ab  abc x%", "%-4.2s%s %c%%", "abc", "abc", 'x');
	prints("65535 -1 255", "%hu %hhd %zu", (unsigned short)65535, (signed char)-1, (size_t)255);
	claim(snprintf(small, sizeof small, "%s", "longer") == 6 && !strcmp(small, "lon"), "cut");
	claim(strtol("  -0x1fz", &end, 0) == -31 && *end == 'z', "strtol, hexadecimal");
	claim(strtol("077", NULL, 0) == 63 && strtoul("12", NULL, 10) == 12, "strtol, other bases");
	errno = 0;
	claim(strtol("99999999999999999999", NULL, 10) == INT64_MAX && errno == ERANGE, "strtol, large");
	claim(strtol("none", &end, 10) == 0 && *end == 'n', "strtol, no number");
	claim(!strcmp(strstr("haystack", "st"), "stack") && !strstr("hay", "x"), "strstr");
	claim(!strcmp(strrchr("a/b/c", '/'), "/c") && strchr("abc", 0), "strrchr, strchr");
	char moved[] = "123456789";
	memmove(moved + 2, moved, 5);
	claim(!strcmp(moved, "121234589"), "memmove, upwards");
	memmove(moved, moved + 2, 5);
	claim(!strcmp(moved, "123454589"), "memmove, downwards");
	claim(memcmp("ab", "ac", 2) < 0 && !strncmp("abx", "aby", 2), "comparisons");
}

static int by_value(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static void try_memory(void)
{
	int numbers[] = { 5, 3, 9, 1, 7, 3 }, sorted[] = { 1, 3, 3, 5, 7, 9 };
	char *blocks[200];

	qsort(numbers, 6, sizeof *numbers, by_value);
	claim(!memcmp(numbers, sorted, sizeof sorted), "qsort");
	for (int i = 0; i < 200; i++) {
		blocks[i] = malloc((size_t)i * i * 8 + 1);
		memset(blocks[i], i, (size_t)i * i * 8 + 1);
	}
	int kept = 1;
	for (int i = 0; i < 200; i++) {
		kept &= blocks[i][0] == (char)i && blocks[i][(size_t)i * i * 8] == (char)i;
		kept &= (uintptr_t)blocks[i] % 16 == 0;
		free(blocks[i]);
	}
	claim(kept, "malloc");
	char *grown = realloc(strcpy(malloc(3), "ab"), 100000);
	claim(!strcmp(grown, "ab"), "realloc");
	free(grown);
	char *zeros = calloc(1000, 9);
	claim(zeros[0] == 0 && zeros[8999] == 0, "calloc");
	char *aligned = aligned_alloc(65536, 5000);
	claim((uintptr_t)aligned % 65536 == 0, "aligned_alloc");
	memset(aligned, 1, 5000);
	free(aligned);
}

static sigjmp_buf out;
static volatile sig_atomic_t caught, code;
static void *volatile fault_at;

static void on_fault(int number, siginfo_t *info, void *context)
{
	(void)context;
	caught = number;
	code = info->si_code;
	fault_at = info->si_addr;
	siglongjmp(out, 3);
}

static void try_faults(void)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	long page = sysconf(_SC_PAGESIZE);
	volatile char *at = mmap(NULL, 2 * (size_t)page, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANON, -1, 0);

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	claim(mprotect((void *)(at + page), (size_t)page, PROT_READ) == 0, "mprotect");
	at[0] = 1;
	int came = sigsetjmp(out, 1);
	if (!came)
		at[page] = 1;
	claim(came == 3 && (caught == SIGSEGV || caught == SIGBUS) && fault_at == at + page,
	      "a fault is caught");
	caught = 0;
	if (!sigsetjmp(out, 1))	/* the mask was restored: it can happen again */
		at[page] = 1;
	claim(caught != 0, "a second fault is caught");
	claim(munmap((void *)at, 2 * (size_t)page) == 0, "munmap");
	errno = 0;
	claim(mmap(NULL, 0, PROT_READ, MAP_ANON, -1, 0) == MAP_FAILED && errno == EINVAL, "mmap, no size");
	signal(SIGSEGV, SIG_DFL);
	signal(SIGBUS, SIG_DFL);
}

static void try_processes(void)
{
	int status, ends[2];
	char text[16] = "";
	int *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANON, -1, 0);

	claim(pipe(ends) == 0, "pipe");
	pid_t pid = fork();
	if (pid == 0) {
		*shared = getpid();
		dprintf(ends[1], "child");
		_exit(42);
	}
	claim(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 42, "exit");
	claim(*shared == pid && read(ends[0], text, sizeof text) == 5 && !strcmp(text, "child"), "shared");
	pid = fork();
	if (pid == 0)
		for (;;)
			pause();
	kill(pid, SIGTERM);
	claim(wait(&status) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM, "kill");
	claim(wait(&status) == -1 && errno == ECHILD, "no more children");
	claim(open("/no/such/file", O_RDONLY) == -1 && errno == ENOENT, "open");
	claim(!strcmp(strerror(ENOENT), "No such file or directory"), "strerror");
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static int counter, ready, serial;
static _Thread_local int mine = 7;

static void *thread(void *argument)
{
	long number = (long)argument;

	errno = (int)number;
	mine += (int)number;
	pin_to((int)number % 2);
	if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
		__atomic_add_fetch(&serial, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < 20000; i++) {
		pthread_mutex_lock(&mutex);
		counter++;
		pthread_mutex_unlock(&mutex);
	}
	pthread_mutex_lock(&mutex);
	ready++;
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&mutex);
	return (void *)(errno == number && mine == 7 + number ? number : -1l);
}

static void try_threads(void)
{
	pthread_t threads[4];
	int good = 1;

	pthread_barrier_init(&barrier, NULL, 4);
	for (long i = 0; i < 4; i++)
		good &= pthread_create(&threads[i], NULL, thread, (void *)i) == 0;
	claim(good, "pthread_create");
	pthread_mutex_lock(&mutex);
	while (ready < 4)
		pthread_cond_wait(&changed, &mutex);
	pthread_mutex_unlock(&mutex);
	for (long i = 0; i < 4; i++) {
		void *result;

		good &= pthread_join(threads[i], &result) == 0 && result == (void *)i;
	}
	claim(good, "each thread has its own errno and variables");
	claim(counter == 80000, "the mutex excludes");
	claim(serial == 1, "one of them is the barrier's");
	claim(mine == 7, "the first thread's variable is its own");
}

static void try_time(void)
{
	double before = seconds_since_start();
	cpu_set_t set;

	usleep(30000);
	claim(seconds_since_start() - before >= 0.03, "usleep");
	pin_to(1);
	sched_getaffinity(0, sizeof set, &set);
	claim(CPU_ISSET(1, &set) && !CPU_ISSET(0, &set), "affinity");
	claim(sysconf(_SC_PAGESIZE) == 4096 && sysconf(_SC_NPROCESSORS_ONLN) == 2, "sysconf");
}

static void try_what_came_late(void)
{
	unsigned char bytes[600] = { 0 };

	/* releases before 12 have 256 bytes at a time */
	claim(getrandom(bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes, "getrandom");
	for (size_t at = 0; at < sizeof bytes; at += 100) {
		int set = 0;

		for (int i = 0; i < 100; i++)
			set |= bytes[at + i];
		claim(set != 0, "all of getrandom's bytes");
	}
#ifdef __FreeBSD__
	int release = 0;
	size_t size = sizeof release;

	claim(!sysctlbyname("kern.osreldate", &release, &size, NULL, 0) && release >= 1000000 &&
	      size == sizeof release, "sysctlbyname");
	claim(sysctlbyname("kern.nothing", &release, &size, NULL, 0) == -1 && errno == ENOENT,
	      "an unknown sysctl");
#endif
}

int main(int argc, char **argv)
{
	start_workload();
	claim(number(argc, argv, "seed", 0) == 5, "arguments");
	try_text();
	try_memory();
	try_faults();
	try_processes();
	try_threads();
	try_time();
	try_what_came_late();
	report("done", ",\"claims\":%d,\"wrong\":%d", claims, wrong);
	return wrong != 0;
}
