/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How a system call is made (lib/libc/{amd64,aarch64}/SYS.h), and their numbers (sys/syscall.h): those
 * that releases 10 to 15 have and do the same with, so that a program runs on all; a newer one is
 * called behind a look at the release, since a kernel without it sends SIGSYS.
 */
#pragma once
#include <errno.h>
#include <stddef.h>

enum {
	SYS_exit = 1, SYS_fork = 2, SYS_read = 3, SYS_write = 4, SYS_open = 5, SYS_close = 6,
	SYS_wait4 = 7, SYS_unlink = 10, SYS_chdir = 12, SYS_getpid = 20, SYS_unmount = 22,
	SYS_getuid = 24, SYS_sync = 36, SYS_kill = 37, SYS_getppid = 39, SYS_ioctl = 54,
	SYS_reboot = 55, SYS_execve = 59, SYS_msync = 65, SYS_munmap = 73, SYS_mprotect = 74,
	SYS_madvise = 75, SYS_mincore = 78, SYS_getpgrp = 81, SYS_setpgid = 82, SYS_setitimer = 83,
	SYS_swapon = 85, SYS_dup2 = 90, SYS_fcntl = 92, SYS_fsync = 95, SYS_gettimeofday = 116,
	SYS_mkdir = 136, SYS_setsid = 147, SYS_sysarch = 165, SYS_getrlimit = 194,
	SYS_setrlimit = 195, SYS_sysctl = 202, SYS_mlock = 203, SYS_munlock = 204, SYS_poll = 209,
	SYS_clock_gettime = 232, SYS_nanosleep = 240, SYS_minherit = 250, SYS_rfork = 251,
	SYS_sched_yield = 331, SYS_sigprocmask = 340, SYS_sigsuspend = 341, SYS_nmount = 378,
	SYS_kenv = 390, SYS_sigaction = 416, SYS_thr_exit = 431, SYS_thr_self = 432,
	SYS_thr_kill = 433, SYS_umtx_op = 454, SYS_thr_new = 455, SYS_pread = 475,
	SYS_pwrite = 476, SYS_mmap = 477, SYS_lseek = 478, SYS_ftruncate = 480,
	SYS_cpuset_getaffinity = 487, SYS_cpuset_setaffinity = 488, SYS_pipe2 = 542,
	SYS_posix_openpt = 504, SYS_getrandom = 563,
};

/* What the kernel returns, or less 1 to 4095: less the error's number. */
static inline long system_call(long number, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long result = number;

	__asm__ volatile("syscall\n\tjnc 1f\n\tneg %%rax\n1:"
			 : "+a"(result), "+D"(a), "+S"(b), "+d"(c), "+r"(r10), "+r"(r8), "+r"(r9)
			 : : "rcx", "r11", "memory", "cc");
	return result;
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc 0\n\tb.cc 1f\n\tneg x0, x0\n1:"
			 : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3), "+r"(x4), "+r"(x5), "+r"(x8)
			 : : "memory", "cc", "x6", "x7", "x9", "x10", "x11", "x12", "x13", "x14",
			     "x15", "x16", "x17");
	return x0;
#else
#error "no system calls for this architecture"
#endif
}

static inline long checked(long result)
{
	if (result < 0 && result > -4096) {
		errno = (int)-result;
		return -1;
	}
	return result;
}

#define CALL6(number, a, b, c, d, e, f) \
	system_call(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define CALL5(number, a, b, c, d, e) CALL6(number, a, b, c, d, e, 0)
#define CALL4(number, a, b, c, d) CALL5(number, a, b, c, d, 0)
#define CALL3(number, a, b, c) CALL4(number, a, b, c, 0)
#define CALL2(number, a, b) CALL3(number, a, b, 0)
#define CALL1(number, a) CALL2(number, a, 0)
#define CALL0(number) CALL1(number, 0)

/* The thread's own memory (tls.c). */
size_t thread_memory_size(void);
void *make_thread_memory(void *at, void *self);
void set_thread_memory(void *pointer);
