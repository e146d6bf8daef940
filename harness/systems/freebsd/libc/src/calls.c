/* SPDX-License-Identifier: BSD-2-Clause */
/* System calls as C functions: -1 and errno where the kernel refuses. */
#include <fcntl.h>
#include <kenv.h>
#include <poll.h>
#include <stdlib.h>
#include <sched.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "syscall.h"

enum { FIRST_WITH_GETRANDOM = 1200086 };	/* __FreeBSD_version of 12.0-RELEASE */

__thread int errno;

static long number_of(const char *name, long otherwise);

ssize_t read(int fd, void *p, size_t n) { return checked(CALL3(SYS_read, fd, p, n)); }
ssize_t write(int fd, const void *p, size_t n) { return checked(CALL3(SYS_write, fd, p, n)); }
off_t lseek(int fd, off_t o, int whence) { return checked(CALL3(SYS_lseek, fd, o, whence)); }
int ftruncate(int fd, off_t size) { return (int)checked(CALL2(SYS_ftruncate, fd, size)); }
int fsync(int fd) { return (int)checked(CALL1(SYS_fsync, fd)); }
void sync(void) { CALL0(SYS_sync); }
int close(int fd) { return (int)checked(CALL1(SYS_close, fd)); }
int dup2(int from, int to) { return (int)checked(CALL2(SYS_dup2, from, to)); }
int pipe2(int fds[2], int flags) { return (int)checked(CALL2(SYS_pipe2, fds, flags)); }
int pipe(int fds[2]) { return pipe2(fds, 0); }
int posix_openpt(int flags) { return (int)checked(CALL1(SYS_posix_openpt, flags)); }
int unlink(const char *path) { return (int)checked(CALL1(SYS_unlink, path)); }
int chdir(const char *path) { return (int)checked(CALL1(SYS_chdir, path)); }
int mkdir(const char *path, mode_t mode) { return (int)checked(CALL2(SYS_mkdir, path, mode)); }
pid_t getpid(void) { return (pid_t)CALL0(SYS_getpid); }
pid_t getppid(void) { return (pid_t)CALL0(SYS_getppid); }
pid_t getpgrp(void) { return (pid_t)CALL0(SYS_getpgrp); }
uid_t getuid(void) { return (uid_t)CALL0(SYS_getuid); }
pid_t setsid(void) { return (pid_t)checked(CALL0(SYS_setsid)); }
int setpgid(pid_t pid, pid_t group) { return (int)checked(CALL2(SYS_setpgid, pid, group)); }
int sched_yield(void) { return (int)checked(CALL0(SYS_sched_yield)); }
int poll(struct pollfd *p, nfds_t n, int ms) { return (int)checked(CALL3(SYS_poll, p, n, ms)); }
int munmap(void *at, size_t n) { return (int)checked(CALL2(SYS_munmap, at, n)); }
int mprotect(void *at, size_t n, int p) { return (int)checked(CALL3(SYS_mprotect, at, n, p)); }
int madvise(void *at, size_t n, int a) { return (int)checked(CALL3(SYS_madvise, at, n, a)); }
int minherit(void *at, size_t n, int i) { return (int)checked(CALL3(SYS_minherit, at, n, i)); }
int mincore(const void *at, size_t n, char *s) { return (int)checked(CALL3(SYS_mincore, at, n, s)); }
int mlock(const void *at, size_t n) { return (int)checked(CALL2(SYS_mlock, at, n)); }
int munlock(const void *at, size_t n) { return (int)checked(CALL2(SYS_munlock, at, n)); }
int msync(void *at, size_t n, int flags) { return (int)checked(CALL3(SYS_msync, at, n, flags)); }
int swapon(const char *device) { return (int)checked(CALL1(SYS_swapon, device)); }
int reboot(int how) { return (int)checked(CALL1(SYS_reboot, how)); }
int unmount(const char *path, int flags) { return (int)checked(CALL2(SYS_unmount, path, flags)); }
int getrlimit(int which, struct rlimit *l) { return (int)checked(CALL2(SYS_getrlimit, which, l)); }

ssize_t pread(int fd, void *p, size_t n, off_t at)
{
	return checked(CALL4(SYS_pread, fd, p, n, at));
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
	return checked(CALL4(SYS_pwrite, fd, p, n, at));
}

int setrlimit(int which, const struct rlimit *limit)
{
	return (int)checked(CALL2(SYS_setrlimit, which, limit));
}

void *mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset)
{
	return (void *)checked(CALL6(SYS_mmap, at, n, protection, flags, fd, offset));
}

int nmount(struct iovec *options, unsigned int count, int flags)
{
	return (int)checked(CALL3(SYS_nmount, options, count, flags));
}

/*
 * A call that a kernel does not know ends the program (SIGSYS), so its release is asked first. Before
 * 12 there is kern.arandom, which gives 256 bytes at a time and never waits.
 */
ssize_t getrandom(void *buffer, size_t n, unsigned int flags)
{
	const int arandom[2] = { CTL_KERN, KERN_ARND };
	size_t some;

	if (number_of("kern.osreldate", 0) >= FIRST_WITH_GETRANDOM)
		return checked(CALL3(SYS_getrandom, buffer, n, flags));
	for (size_t done = 0; done < n; done += some) {
		some = n - done < 256 ? n - done : 256;
		if (sysctl(arandom, 2, (char *)buffer + done, &some, NULL, 0))
			return -1;
	}
	return (ssize_t)n;
}

int kenv(int what, const char *name, char *value, int n)
{
	return (int)checked(CALL4(SYS_kenv, what, name, value, n));
}

int open(const char *path, int flags, ...)
{
	va_list ap;

	va_start(ap, flags);
	int mode = flags & O_CREAT ? va_arg(ap, int) : 0;
	va_end(ap);
	return (int)checked(CALL3(SYS_open, path, flags, mode));
}

int fcntl(int fd, int command, ...)
{
	va_list ap;

	va_start(ap, command);
	long argument = va_arg(ap, long);
	va_end(ap);
	return (int)checked(CALL3(SYS_fcntl, fd, command, argument));
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list ap;

	va_start(ap, request);
	void *argument = va_arg(ap, void *);
	va_end(ap);
	return (int)checked(CALL3(SYS_ioctl, fd, request, argument));
}

/* Both return twice: %rdx (x1) says in which process, but the child gets 0 in any case. */
pid_t fork(void) { return (pid_t)checked(CALL0(SYS_fork)); }
pid_t rfork(int flags) { return (pid_t)checked(CALL1(SYS_rfork, flags)); }
pid_t vfork(void) { return fork(); }

int execve(const char *path, char *const argv[], char *const env[])
{
	return (int)checked(CALL3(SYS_execve, path, argv, env));
}

int execv(const char *path, char *const argv[])
{
	return execve(path, argv, environ);
}

pid_t waitpid(pid_t pid, int *status, int options)
{
	return (pid_t)checked(CALL4(SYS_wait4, pid, status, options, 0));
}

pid_t wait(int *status)
{
	return waitpid(-1, status, 0);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	return (int)checked(CALL2(SYS_clock_gettime, clock, now));
}

int gettimeofday(struct timeval *now, void *zone)
{
	return (int)checked(CALL2(SYS_gettimeofday, now, zone));
}

time_t time(time_t *now)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	if (now)
		*now = t.tv_sec;
	return t.tv_sec;
}

int nanosleep(const struct timespec *wanted, struct timespec *left)
{
	return (int)checked(CALL2(SYS_nanosleep, wanted, left));
}

int usleep(useconds_t microseconds)
{
	struct timespec t = { microseconds / 1000000, microseconds % 1000000 * 1000L };

	return nanosleep(&t, NULL);
}

unsigned int sleep(unsigned int seconds)
{
	struct timespec left = { seconds, 0 };

	return nanosleep(&left, &left) ? (unsigned int)left.tv_sec : 0;
}

unsigned int alarm(unsigned int seconds)
{
	struct timeval wanted[2] = { { 0, 0 }, { seconds, 0 } }, before[2];

	CALL3(SYS_setitimer, 0, wanted, before);
	return (unsigned int)before[1].tv_sec + (before[1].tv_usec > 0);
}

int sysctl(const int *name, u_int length, void *old, size_t *old_size, const void *new, size_t n)
{
	return (int)checked(CALL6(SYS_sysctl, name, length, old, old_size, new, n));
}

int sysctlbyname(const char *name, void *old, size_t *old_size, const void *new, size_t n)
{
	/* by its number: __sysctlbyname(2) came with release 13 */
	int mib[CTL_MAXNAME];
	size_t length = CTL_MAXNAME;

	return sysctlnametomib(name, mib, &length)
		? -1 : sysctl(mib, (u_int)length, old, old_size, new, n);
}

int sysctlnametomib(const char *name, int *mib, size_t *length)
{
	const int query[2] = { CTL_SYSCTL, CTL_SYSCTL_NAME2OID };
	size_t size = *length * sizeof *mib;
	int result = sysctl(query, 2, mib, &size, name, strlen(name));

	*length = size / sizeof *mib;
	return result;
}

static long number_of(const char *name, long otherwise)
{
	int value = 0;
	size_t size = sizeof value;

	return sysctlbyname(name, &value, &size, NULL, 0) ? otherwise : value;
}

long sysconf(int name)
{
	unsigned long bytes = 0;
	size_t size = sizeof bytes;

	switch (name) {
	case _SC_PAGESIZE:
		return number_of("hw.pagesize", 4096);
	case _SC_NPROCESSORS_CONF:
	case _SC_NPROCESSORS_ONLN:
		return number_of("kern.smp.cpus", 1);
	case _SC_PHYS_PAGES:
		return sysctlbyname("hw.physmem", &bytes, &size, NULL, 0)
			? -1 : (long)(bytes / (unsigned long)sysconf(_SC_PAGESIZE));
	}
	errno = EINVAL;
	return -1;
}

int getpagesize(void)
{
	return (int)sysconf(_SC_PAGESIZE);
}

int tcgetattr(int fd, struct termios *settings)
{
	return ioctl(fd, TIOCGETA, settings);
}

int tcsetattr(int fd, int when, const struct termios *settings)
{
	(void)when;
	return ioctl(fd, TIOCSETA, settings);
}

int tcdrain(int fd)
{
	return ioctl(fd, TIOCDRAIN, NULL);
}

int isatty(int fd)
{
	struct termios settings;

	return !tcgetattr(fd, &settings);
}

enum { CPU_LEVEL_WHICH = 3, CPU_WHICH_TID = 1 };

/*
 * Kernels differ in how long a CPU set is (MAXCPU), and refuse a longer one: 1024 CPUs since 14, 256
 * before. CPUs beyond the first 256 are dropped there.
 */
static int affinity(long call, pid_t pid, size_t size, void *set)
{
	if (pid != 0) {
		errno = ESRCH;
		return -1;
	}
	for (size_t n = 128; n >= 32; n /= 2) {
		size_t handed = n < size ? n : size;
		long result = CALL5(call, CPU_LEVEL_WHICH, CPU_WHICH_TID, -1l, handed, set);

		if (result != -ERANGE)
			return (int)checked(result);
	}
	errno = ERANGE;
	return -1;
}

int sched_setaffinity(pid_t pid, size_t size, const cpu_set_t *set)
{
	return affinity(SYS_cpuset_setaffinity, pid, size, (void *)set);
}

int sched_getaffinity(pid_t pid, size_t size, cpu_set_t *set)
{
	memset(set, 0, size);
	return affinity(SYS_cpuset_getaffinity, pid, size, set);
}
