/* SPDX-License-Identifier: BSD-2-Clause */
/* init of the Linux micro-guest: mounts the kernel's file systems, serves the control channel. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <pty.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include "agent.h"

#ifdef __powerpc64__
/*
 * QEMU 7.2 does not migrate the decrementer of a TCG guest: a restored CPU gets no timer
 * interrupt any more, until somebody sets its decrementer. Work that perf defers to an interrupt
 * does so at once on powerpc (arch_irq_work_raise()), and the interrupt sets the decrementer to the
 * next event that the kernel remembers: so every CPU takes one page fault, which is counted by an
 * event that wants a wake-up each time. The event is made beforehand, since that waits for RCU and
 * so for timers.
 */
static volatile char *fault_page;

static void prepare_timers(void)
{
	long page = sysconf(_SC_PAGESIZE);
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE, .size = sizeof attr, .config = PERF_COUNT_SW_PAGE_FAULTS,
		.sample_type = PERF_SAMPLE_IP, .sample_period = 1, .wakeup_events = 1,
	};
	int fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	void *at = MAP_FAILED;

	if (fd >= 0 && mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED)
		at = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		printf("init: a restored guest's timers will stand still: %s\n", strerror(errno));
	else
		fault_page = at;
}

static void restart_timers(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	cpu_set_t all, one;

	if (!fault_page)
		return;
	sched_getaffinity(0, sizeof all, &all);
	for (long cpu = 0; cpu < cpus; cpu++) {
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		if (sched_setaffinity(0, sizeof one, &one))
			continue;
		madvise((void *)fault_page, sysconf(_SC_PAGESIZE), MADV_DONTNEED);
		*fault_page = 1;
	}
	sched_setaffinity(0, sizeof all, &all);
}
#else
static void prepare_timers(void) { }
static void restart_timers(void) { }
#endif

static int open_terminal(int *inside)
{
	int outside;

	return openpty(&outside, inside, NULL, NULL, NULL) ? -1 : outside;
}

static int run_commands(char *text)
{
	execl("/bin/sh", "sh", "-c", text, (char *)NULL);
	dprintf(2, "/bin/sh: %s\n", strerror(errno));
	return 127;
}

static void power_off(void)
{
	sync();
	reboot(RB_POWER_OFF);
}

static const struct agent_system linux_system = {
	.open_terminal = open_terminal, .run_commands = run_commands, .power_off = power_off,
	.before_pong = restart_timers,
};

static void mount_one(const char *type, const char *where)
{
	mkdir(where, 0755);
	if (mount(type, where, type, 0, NULL) && errno != EBUSY)
		printf("init: mount %s: %s\n", where, strerror(errno));
}

static int open_channel(const char *device)
{
	struct termios t;
	int fd = open(device, O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd < 0 || tcgetattr(fd, &t))
		return -1;
	cfmakeraw(&t);
	cfsetspeed(&t, B115200);
	t.c_cflag |= CLOCAL;
	return tcsetattr(fd, TCSANOW, &t) ? -1 : fd;
}

int main(int argc, char **argv)
{
	const char *device = getenv("harness_channel");
	int channel;

	(void)argc;
	(void)argv;
	mount_one("devtmpfs", "/dev");
	open_console();
	mount_one("proc", "/proc");
	mount_one("sysfs", "/sys");
	mount_one("tmpfs", "/tmp");
	mount_one("debugfs", "/sys/kernel/debug");
	mount_one("devpts", "/dev/pts");
	setenv("PATH", "/bin:/sbin:/usr/bin", 1);
	setenv("HOME", "/", 1);
	setenv("TERM", "linux", 0);
	if (!device)
		device = "/dev/ttyS1";
	prepare_timers();
	channel = open_channel(device);
	if (channel >= 0)
		serve(channel, &linux_system);
	printf("init: control channel %s: %s\n", device, strerror(errno));
	fflush(stdout);
	tcdrain(1);	/* the panic's own words would overtake it, and the rest be lost */
	return 1;	/* the kernel panics: a void boot with its reason on the console */
}
