/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Serves the control channel: commands with their output, files either way, the guest's end.
 *
 * The host sends at most one frame of DATA before it waits for the ACK, since a tty has no flow
 * control to speak of and would drop what overruns its buffer.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "agent.h"
#include "frames.h"

enum { OUTPUT_CHUNK = 1024, MAX_CHILDREN = 16, MAX_FDS = 64 };

struct child {
	pid_t pid;
	int fd;			/* its output, and its input where it has a terminal */
	uint16_t id;
	int terminal, reaped, status;
};

static const struct agent_system *sys;
static int channel = -1;
static int upload = -1;
static int signal_pipe[2];
static struct child children[MAX_CHILDREN];

/* Returns whether all was written. */
static int write_all(int fd, const void *data, size_t n)
{
	const char *p = data;

	while (n) {
		ssize_t written = write(fd, p, n);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return 0;
		p += written;
		n -= (size_t)written;
	}
	return 1;
}

static void send_frame(int type, uint16_t id, const void *payload, size_t length)
{
	uint8_t f[MAX_FRAME];

	write_all(channel, f, frame_encode(f, type, id, payload, length));
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

static void run_child(int terminal, int input, int output, char *command)
{
	setsid();
	if (terminal)
		ioctl(input, TIOCSCTTY, NULL);
	dup2(input, 0);
	dup2(output, 1);
	dup2(output, 2);
	for (int fd = 3; fd < MAX_FDS; fd++)
		close(fd);
	signal(SIGCHLD, SIG_DFL);
	_exit(sys->run_commands(command));
}

/* Our end of what the child writes to, and the child's ends; -1 if there can be none. */
static int open_ends(int terminal, int *input, int *output)
{
	int pipes[2], outside;

	if (terminal) {
		outside = sys->open_terminal(input);
		*output = *input;
	} else if (pipe2(pipes, O_CLOEXEC)) {
		return -1;
	} else {
		*input = open("/dev/null", O_RDONLY | O_CLOEXEC);
		*output = pipes[1];
		outside = pipes[0];
	}
	if (outside >= 0)
		fcntl(outside, F_SETFD, (long)FD_CLOEXEC);
	return outside;
}

static void start(uint16_t id, int terminal, char *command)
{
	struct child *c = NULL;
	int input, output;

	for (int i = 0; i < MAX_CHILDREN && !c; i++)
		if (children[i].pid <= 0)
			c = &children[i];
	if (!c) {
		send_error(id, "more than %d commands at once", MAX_CHILDREN);
		return;
	}
	*c = (struct child){ .id = id, .terminal = terminal };
	c->fd = open_ends(terminal, &input, &output);
	if (c->fd < 0) {
		send_error(id, "no %s for a command: %s", terminal ? "terminal" : "pipe",
			   strerror(errno));
		return;
	}
	c->pid = fork();
	if (c->pid == 0)
		run_child(terminal, input, output, command);
	if (c->pid < 0) {
		send_error(id, "fork: %s", strerror(errno));
		close(c->fd);
	}
	close(input);
	if (output != input)
		close(output);
}

/* The command's processes; the first one by itself where it leads no group yet. */
static void kill_child(const struct child *c, int number)
{
	if (kill(-c->pid, number) && !c->reaped)
		kill(c->pid, number);
}

static void finish_if_done(struct child *c)
{
	uint8_t payload[4];

	if (!c->reaped || c->fd >= 0)
		return;
	put32(payload, (uint32_t)(WIFSIGNALED(c->status) ? 128 + WTERMSIG(c->status)
							 : WEXITSTATUS(c->status)));
	send_frame(F_EXIT, c->id, payload, sizeof payload);
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
	close(c->fd);		/* a terminal's end of file is EIO on Linux */
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
static void open_upload(uint16_t id, const uint8_t *payload, size_t length)
{
	const char *path = (const char *)payload + 4;

	if (length <= 4) {
		send_error(id, "a file without a name");
		return;
	}
	if (upload >= 0)
		close(upload);
	upload = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, get32(payload));
	if (upload < 0)
		send_error(id, "%s: %s", path, strerror(errno));
	else
		send_frame(F_ACK, id, NULL, 0);
}

static void receive_data(uint16_t id, const uint8_t *payload, size_t length)
{
	struct child *c = child_by_id(id);

	if (c && c->terminal && c->fd >= 0) {
		write_all(c->fd, payload, length);
	} else if (upload < 0) {
		send_error(id, "data for no open file");
		return;
	} else if (!write_all(upload, payload, length)) {
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

static void handle(struct frame *f)
{
	struct child *c;

	switch (f->type) {
	case F_PING:
		if (sys->before_pong)
			sys->before_pong();
		send_frame(F_PONG, f->id, f->payload, f->length);
		break;
	case F_EXEC:
		start(f->id, f->flags & FLAG_TERMINAL, (char *)f->payload);
		break;
	case F_KILL:
		c = child_by_id(f->id);
		if (c && f->length)
			kill_child(c, f->payload[0]);
		break;
	case F_PUT:
		open_upload(f->id, f->payload, f->length);
		break;
	case F_DATA:
		receive_data(f->id, f->payload, f->length);
		break;
	case F_CLOSE:
		close_upload(f->id);
		break;
	case F_GET:
		send_file(f->id, (char *)f->payload);
		break;
	case F_WINSIZE:
		if (f->length >= 4)
			set_window_size(f->id, f->payload);
		break;
	case F_POWEROFF:
		sys->power_off();
		break;
	default:
		send_error(f->id, "unknown frame type %d", f->type);
	}
}

static void receive(void)
{
	static struct frame_buffer buffer;
	static struct frame frame;
	enum frame_found found;
	ssize_t n = read(channel, buffer.bytes + buffer.have, sizeof buffer.bytes - buffer.have);

	if (n > 0)
		buffer.have += (size_t)n;
	while ((found = frame_decode(&buffer, &frame)) != FRAME_NONE)
		if (found == FRAME_WHOLE)
			handle(&frame);
		else
			send_error(0, "bad checksum");
}

static void on_child(int number)
{
	int saved = errno;

	if (write(signal_pipe[1], &number, 1) < 0) { /* full: a wake-up is already under way */ }
	errno = saved;
}

void open_console(void)
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

int serve(int line, const struct agent_system *system)
{
	channel = line;
	sys = system;
	if (pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK))
		return -1;
	signal(SIGCHLD, on_child);
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
		if (fds[0].revents)
			receive();
	}
}
