/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * init of the FreeBSD micro-guest: serves the control channel, a second serial port in raw mode.
 *
 * Frames, and who sends which, are those of harness/console/frames.py, which is the other end:
 *
 *   u8 0xA5, u8 0x5A, u8 type, u8 flags, u16 id, u16 length, payload, u32 crc32 (type..payload)
 *
 * Little endian, as both architectures are. What EXEC runs is a text of commands.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <kenv.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "commands.h"

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
static int signal_pipe[2];

static uint32_t crc32(const uint8_t *p, size_t n)
{
	static uint32_t table[256];
	uint32_t c = ~0u;

	for (uint32_t i = 0; !table[255] && i < 256; i++) {
		uint32_t entry = i;

		for (int bit = 0; bit < 8; bit++)
			entry = entry & 1 ? 0xedb88320u ^ entry >> 1 : entry >> 1;
		table[i] = entry;
	}
	while (n--)
		c = table[(c ^ *p++) & 255] ^ c >> 8;
	return ~c;
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t get32(const uint8_t *p)
{
	return get16(p) | (uint32_t)get16(p + 2) << 16;
}

static void write_all(int fd, const void *data, size_t n)
{
	const char *p = data;

	while (n) {
		ssize_t written = write(fd, p, n);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return;
		p += written;
		n -= (size_t)written;
	}
}

static void send_frame(int type, uint16_t id, const void *payload, size_t length)
{
	uint8_t f[HEADER + MAX_PAYLOAD + TRAILER] = { 0xa5, 0x5a, (uint8_t)type, 0 };
	uint16_t short_length = (uint16_t)length;

	memcpy(f + 4, &id, sizeof id);
	memcpy(f + 6, &short_length, sizeof short_length);
	memcpy(f + HEADER, payload, length);
	uint32_t crc = crc32(f + 2, HEADER - 2 + length);

	memcpy(f + HEADER + length, &crc, sizeof crc);
	write_all(channel, f, HEADER + length + TRAILER);
}

static void send_error(uint16_t id, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void send_error(uint16_t id, const char *format, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, format);
	int n = vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	send_frame(F_ERROR, id, text, n < (int)sizeof text ? (size_t)n : sizeof text - 1);
}

static struct child *child_by_id(uint16_t id)
{
	for (int i = 0; i < MAX_CHILDREN; i++)
		if (children[i].pid > 0 && children[i].id == id)
			return &children[i];
	return NULL;
}

/* Both ends of a new terminal: what it reads and writes, and its other end. */
static int open_terminal(int *inside)
{
	char name[64] = "/dev/";
	struct {
		int length;
		char *name;
	} question = { sizeof name - 5, name + 5 };
	int outside = posix_openpt(O_RDWR | O_NOCTTY);

	/* FIODGNAME of sys/sys/filio.h */
	if (outside < 0 || ioctl(outside, IOC_REQUEST(0x80000000u, 'f', 120, sizeof question),
				 &question))
		return -1;
	*inside = open(name, O_RDWR);
	return *inside < 0 ? -1 : outside;
}

static void run_child(int terminal, int input, int output, char *command)
{
	setsid();
	if (terminal)
		ioctl(input, TIOCSCTTY, NULL);
	dup2(input, 0);
	dup2(output, 1);
	dup2(output, 2);
	for (int fd = 3; fd < 64; fd++)
		close(fd);
	signal(SIGCHLD, SIG_DFL);
	_exit(run_commands(command));
}

static void start(uint16_t id, int terminal, char *command)
{
	struct child *c = NULL;
	int pipes[2] = { -1, -1 }, input, output;

	for (int i = 0; i < MAX_CHILDREN && !c; i++)
		if (children[i].pid <= 0)
			c = &children[i];
	if (!c) {
		send_error(id, "more than %d commands at once", MAX_CHILDREN);
		return;
	}
	*c = (struct child){ .id = id, .fd = -1, .terminal = terminal };
	if (terminal) {
		c->fd = open_terminal(&input);
		output = input;
	} else {
		input = open("/dev/null", O_RDONLY);
		c->fd = pipe2(pipes, O_CLOEXEC) ? -1 : pipes[0];
		output = pipes[1];
	}
	if (c->fd >= 0)
		c->pid = fork();
	if (c->fd < 0 || c->pid < 0) {
		send_error(id, "cannot start a command: %s", strerror(errno));
		c->pid = 0;
		return;
	}
	if (c->pid == 0)
		run_child(terminal, input, output, command);
	close(input);
	if (output != input)
		close(output);
	fcntl(c->fd, F_SETFD, (long)FD_CLOEXEC);
}

static void finish_if_done(struct child *c)
{
	uint32_t status;

	if (!c->reaped || c->fd >= 0)
		return;
	status = (uint32_t)(WIFSIGNALED(c->status) ? 128 + WTERMSIG(c->status)
						   : WEXITSTATUS(c->status));
	send_frame(F_EXIT, c->id, &status, sizeof status);
	c->pid = 0;
}

static void forward_output(struct child *c)
{
	char chunk[OUTPUT_CHUNK];
	ssize_t n = read(c->fd, chunk, sizeof chunk);

	if (n > 0) {
		send_frame(F_OUTPUT, c->id, chunk, (size_t)n);
		return;
	}
	if (n < 0 && errno == EINTR)
		return;
	close(c->fd);
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
		send_frame(F_CONTENT, id, chunk, (size_t)n);
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

static void handle(int type, int flags, uint16_t id, uint8_t *payload, uint16_t length)
{
	struct child *c;

	payload[length] = 0;	/* the CRC behind it was checked: paths and commands end here */
	switch (type) {
	case F_PING:
		send_frame(F_PONG, id, payload, length);
		break;
	case F_EXEC:
		start(id, flags & FLAG_TERMINAL, (char *)payload);
		break;
	case F_KILL:
		c = child_by_id(id);
		/* by itself where it has just been started, and is no group's leader yet */
		if (c && length && kill(-c->pid, payload[0]))
			kill(c->pid, payload[0]);
		break;
	case F_PUT:
		if (length > 4)
			open_upload(id, payload);
		else
			send_error(id, "a file without a name");
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
		reboot(RB_POWEROFF | RB_NOSYNC);
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
		if (crc32(f + 2, HEADER - 2u + length) != get32(f + HEADER + length)) {
			send_error(0, "bad checksum");
			at++;
			continue;
		}
		uint8_t payload[MAX_PAYLOAD + 1];

		memcpy(payload, f + HEADER, length);
		handle(f[2], f[3], get16(f + 4), payload, length);
		at += (size_t)HEADER + length + TRAILER;
	}
	memmove(buffer, buffer + at, have - at);
	return have - at;
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

/* The kernel mounts every root for reading only (sys/kern/vfs_mountroot.c, parse_mount()). */
static void make_root_writable(void)
{
	struct iovec options[] = { { "fstype", 7 }, { "ufs", 4 }, { "fspath", 7 }, { "/", 2 },
				  { "rw", 3 }, { NULL, 0 } };

	if (nmount(options, sizeof options / sizeof options[0], MNT_UPDATE))
		printf("init: the root stays read-only: %s\n", strerror(errno));
}

static int open_channel(const char *device)
{
	struct termios t;
	int fd = open(device, O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd < 0 || tcgetattr(fd, &t))
		return -1;
	t.c_iflag = t.c_oflag = t.c_lflag = 0;
	t.c_cflag = CS8 | CREAD | CLOCAL;
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	t.c_ispeed = t.c_ospeed = 115200;
	return tcsetattr(fd, TCSANOW, &t) ? -1 : fd;
}

static void on_child(int number)
{
	int saved = errno;

	if (write(signal_pipe[1], &number, 1) < 0) { /* full: a wake-up is already under way */ }
	errno = saved;
}

static void serve(void) __attribute__((noreturn));
static void serve(void)
{
	static uint8_t buffer[4 * (HEADER + MAX_PAYLOAD + TRAILER)];
	size_t have = 0;

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
				have = consume(buffer, have + (size_t)n);
		}
	}
}

int main(int argc, char **argv)
{
	char device[64] = "/dev/cuau1";

	(void)argc;
	(void)argv;
	open_console();
	make_root_writable();
	kenv(KENV_GET, "harness_channel", device, sizeof device);
	if (pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK))
		return 1;
	signal(SIGCHLD, on_child);
	channel = open_channel(device);
	if (channel < 0) {
		printf("init: control channel %s: %s\n", device, strerror(errno));
		tcdrain(1);
		return 1;	/* the kernel panics: a void boot with its reason on the console */
	}
	serve();
}
