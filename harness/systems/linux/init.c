/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * init of the Linux micro-guest: mounts the kernel's file systems and serves the control channel.
 *
 * The channel is a second serial port in raw mode. Both sides send frames (harness/console/frames.py
 * is the other end and documents the format):
 *
 *   u8 0xA5, u8 0x5A, u8 type, u8 flags, u16 id, u16 length, payload, u32 crc32 (type..payload)
 *
 * all little endian. The host sends at most one frame of DATA before it waits for the ACK, since a
 * tty has no flow control to speak of and would drop what overruns its buffer.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum frame_type {
	F_PING = 1, F_EXEC = 2, F_KILL = 3, F_PUT = 4, F_DATA = 5, F_CLOSE = 6, F_GET = 7,
	F_POWEROFF = 8, F_WINSIZE = 9,
	F_READY = 65, F_PONG = 66, F_OUTPUT = 67, F_EXIT = 68, F_ACK = 69, F_CONTENT = 70,
	F_ERROR = 71,
};
enum { FLAG_TERMINAL = 1 };
enum { MAX_PAYLOAD = 2048, OUTPUT_CHUNK = 1024, HEADER = 8, TRAILER = 4, MAX_CHILDREN = 16 };

struct child {
	pid_t pid;
	int fd;			/* its output, and its input where it has a terminal */
	uint16_t id;
	int terminal, reaped, status;
};

static int channel = -1;
static int upload = -1;
static struct child children[MAX_CHILDREN];
static uint32_t crc_table[256];

static void make_crc_table(void)
{
	for (uint32_t n = 0; n < 256; n++) {
		uint32_t c = n;

		for (int k = 0; k < 8; k++)
			c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
		crc_table[n] = c;
	}
}

static uint32_t crc32(const uint8_t *p, size_t n)
{
	uint32_t c = ~0u;

	while (n--)
		c = crc_table[(c ^ *p++) & 255] ^ c >> 8;
	return ~c;
}

static void put16(uint8_t *p, uint16_t v) { p[0] = v; p[1] = v >> 8; }
static uint16_t get16(const uint8_t *p) { return p[0] | p[1] << 8; }
static void put32(uint8_t *p, uint32_t v) { put16(p, v); put16(p + 2, v >> 16); }
static uint32_t get32(const uint8_t *p) { return get16(p) | (uint32_t)get16(p + 2) << 16; }

static void write_all(int fd, const void *data, size_t n)
{
	const char *p = data;

	while (n) {
		ssize_t w = write(fd, p, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return;
		p += w;
		n -= w;
	}
}

static void send_frame(int type, uint16_t id, const void *payload, uint16_t length)
{
	uint8_t f[HEADER + MAX_PAYLOAD + TRAILER] = { 0xa5, 0x5a, type, 0 };

	put16(f + 4, id);
	put16(f + 6, length);
	memcpy(f + HEADER, payload, length);
	put32(f + HEADER + length, crc32(f + 2, HEADER - 2 + length));
	write_all(channel, f, HEADER + length + TRAILER);
}

static void send_error(uint16_t id, const char *format, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, format);
	int n = vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	send_frame(F_ERROR, id, text, n < (int)sizeof text ? n : (int)sizeof text - 1);
}

static struct child *child_by_id(uint16_t id)
{
	for (int i = 0; i < MAX_CHILDREN; i++)
		if (children[i].pid > 0 && children[i].id == id)
			return &children[i];
	return NULL;
}

static void start(uint16_t id, int terminal, const char *command)
{
	struct child *c = NULL;
	int pipes[2] = { -1, -1 };

	for (int i = 0; i < MAX_CHILDREN && !c; i++)
		if (children[i].pid <= 0)
			c = &children[i];
	if (!c) {
		send_error(id, "more than %d commands at once", MAX_CHILDREN);
		return;
	}
	*c = (struct child){ .id = id, .fd = -1, .terminal = terminal };
	if (terminal) {
		c->pid = forkpty(&c->fd, NULL, NULL, NULL);
	} else {
		if (pipe2(pipes, O_CLOEXEC)) {
			send_error(id, "pipe: %s", strerror(errno));
			return;
		}
		c->pid = fork();
	}
	if (c->pid < 0) {
		send_error(id, "fork: %s", strerror(errno));
		return;
	}
	if (c->pid == 0) {
		if (!terminal) {
			int null = open("/dev/null", O_RDONLY);

			setsid();
			dup2(null, 0);
			dup2(pipes[1], 1);
			dup2(pipes[1], 2);
		}
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		dprintf(2, "/bin/sh: %s\n", strerror(errno));
		_exit(127);
	}
	if (!terminal) {
		close(pipes[1]);
		c->fd = pipes[0];
	}
	fcntl(c->fd, F_SETFD, FD_CLOEXEC);
}

static void finish_if_done(struct child *c)
{
	uint8_t payload[4];

	if (!c->reaped || c->fd >= 0)
		return;
	put32(payload, WIFSIGNALED(c->status) ? 128 + WTERMSIG(c->status)
					      : WEXITSTATUS(c->status));
	send_frame(F_EXIT, c->id, payload, sizeof payload);
	c->pid = 0;
}

static void forward_output(struct child *c)
{
	char chunk[OUTPUT_CHUNK];
	ssize_t n = read(c->fd, chunk, sizeof chunk);

	if (n > 0) {
		send_frame(F_OUTPUT, c->id, chunk, n);
		return;
	}
	if (n < 0 && errno == EINTR)
		return;
	close(c->fd);		/* a terminal's end of file is EIO */
	c->fd = -1;
	finish_if_done(c);
}

static void reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (int i = 0; i < MAX_CHILDREN; i++)
			if (children[i].pid == pid) {
				children[i].reaped = 1;
				children[i].status = status;
				finish_if_done(&children[i]);
			}
}

static void send_file(uint16_t id, const char *path)
{
	char chunk[MAX_PAYLOAD];
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		send_error(id, "%s: %s", path, strerror(errno));
		return;
	}
	while ((n = read(fd, chunk, sizeof chunk)) > 0)
		send_frame(F_CONTENT, id, chunk, n);
	if (n < 0)
		send_error(id, "%s: %s", path, strerror(errno));
	else
		send_frame(F_CLOSE, id, NULL, 0);
	close(fd);
}

/* PUT: u32 mode, then the path */
static void open_upload(uint16_t id, const uint8_t *payload)
{
	const char *path = (const char *)payload + 4;

	if (upload >= 0)
		close(upload);
	upload = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, get32(payload));
	if (upload < 0)
		send_error(id, "%s: %s", path, strerror(errno));
	else
		send_frame(F_ACK, id, NULL, 0);
}

static void receive_data(uint16_t id, const uint8_t *payload, uint16_t length)
{
	struct child *c = child_by_id(id);

	if (c && c->terminal && c->fd >= 0) {
		write_all(c->fd, payload, length);
	} else if (upload < 0) {
		send_error(id, "data for no open file");
		return;
	} else if (write(upload, payload, length) != length) {
		send_error(id, "write: %s", strerror(errno));
		return;
	}
	send_frame(F_ACK, id, NULL, 0);
}

static void close_upload(uint16_t id)
{
	int failed = upload < 0 || close(upload);

	upload = -1;
	if (failed)
		send_error(id, "close: %s", strerror(errno));
	else
		send_frame(F_ACK, id, NULL, 0);
}

static void set_window_size(uint16_t id, const uint8_t *payload)
{
	struct child *c = child_by_id(id);
	struct winsize size = { .ws_row = get16(payload), .ws_col = get16(payload + 2) };

	if (c && c->terminal)
		ioctl(c->fd, TIOCSWINSZ, &size);
}

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

static void handle(int type, int flags, uint16_t id, uint8_t *payload, uint16_t length)
{
	struct child *c;

	payload[length] = 0;	/* the CRC behind it was checked: paths and commands end here */
	switch (type) {
	case F_PING:		/* the first frame that a restored guest gets */
		restart_timers();
		send_frame(F_PONG, id, payload, length);
		break;
	case F_EXEC:
		start(id, flags & FLAG_TERMINAL, (char *)payload);
		break;
	case F_KILL:
		c = child_by_id(id);
		if (c && length)
			kill(-c->pid, payload[0]);
		break;
	case F_PUT:
		if (length > 4)
			open_upload(id, payload);
		break;
	case F_DATA:
		receive_data(id, payload, length);
		break;
	case F_CLOSE:
		close_upload(id);
		break;
	case F_GET:
		send_file(id, (char *)payload);
		break;
	case F_WINSIZE:
		if (length >= 4)
			set_window_size(id, payload);
		break;
	case F_POWEROFF:
		sync();
		reboot(RB_POWER_OFF);
		break;
	default:
		send_error(id, "unknown frame type %d", type);
	}
}

/* Takes whole frames off the front of the buffer; returns how many bytes remain. */
static size_t consume(uint8_t *buffer, size_t have)
{
	size_t at = 0;

	while (have - at >= HEADER + TRAILER) {
		uint8_t *f = buffer + at;
		uint16_t length = get16(f + 6);

		if (f[0] != 0xa5 || f[1] != 0x5a || length > MAX_PAYLOAD) {
			at++;
			continue;
		}
		if (have - at < (size_t)HEADER + length + TRAILER)
			break;
		if (crc32(f + 2, HEADER - 2 + length) != get32(f + HEADER + length)) {
			send_error(0, "bad checksum");
			at++;
			continue;
		}
		uint8_t payload[MAX_PAYLOAD + 1];

		memcpy(payload, f + HEADER, length);
		handle(f[2], f[3], get16(f + 4), payload, length);
		at += HEADER + length + TRAILER;
	}
	memmove(buffer, buffer + at, have - at);
	return have - at;
}

static void mount_one(const char *type, const char *where)
{
	mkdir(where, 0755);
	if (mount(type, where, type, 0, NULL) && errno != EBUSY)
		printf("init: mount %s: %s\n", where, strerror(errno));
}

static void open_console(void)
{
	int fd = open("/dev/console", O_RDWR | O_NOCTTY);

	if (fd < 0)
		return;
	dup2(fd, 0);
	dup2(fd, 1);
	dup2(fd, 2);
	if (fd > 2)
		close(fd);
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

static int signal_pipe[2];

static void on_child(int signal)
{
	int saved = errno;

	if (write(signal_pipe[1], &signal, 1) < 0) { /* full: a wake-up is already under way */ }
	errno = saved;
}

int main(int argc, char **argv)
{
	static uint8_t buffer[4 * (HEADER + MAX_PAYLOAD + TRAILER)];
	const char *device = getenv("harness_channel");
	size_t have = 0;

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
	make_crc_table();
	if (pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK))
		return 1;
	signal(SIGCHLD, on_child);
	channel = open_channel(device ? device : "/dev/ttyS1");
	if (channel < 0) {
		printf("init: control channel %s: %s\n", device ? device : "/dev/ttyS1",
		       strerror(errno));
		fflush(stdout);
		tcdrain(1);	/* the panic's own words would overtake it, and the rest be lost */
		return 1;	/* the kernel panics: a void boot with its reason on the console */
	}
	prepare_timers();
	send_frame(F_READY, 0, NULL, 0);
	for (;;) {
		struct pollfd fds[2 + MAX_CHILDREN] = {
			{ .fd = channel, .events = POLLIN }, { .fd = signal_pipe[0], .events = POLLIN },
		};

		for (int i = 0; i < MAX_CHILDREN; i++)
			fds[2 + i] = (struct pollfd){
				.fd = children[i].pid > 0 ? children[i].fd : -1, .events = POLLIN };
		if (poll(fds, 2 + MAX_CHILDREN, -1) < 0)
			continue;
		for (int i = 0; i < MAX_CHILDREN; i++)
			if (fds[2 + i].revents)
				forward_output(&children[i]);
		if (fds[1].revents) {
			char drain[64];

			while (read(signal_pipe[0], drain, sizeof drain) > 0)
				;
			reap();
		}
		if (fds[0].revents) {
			ssize_t n = read(channel, buffer + have, sizeof buffer - have);

			if (n > 0)
				have = consume(buffer, have + n);
		}
	}
}
