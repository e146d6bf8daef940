/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bootstrap program's first thread: serves the control channel on the second serial port.
 *
 * The port is driven from here by polling, with the I/O permissions that the master device port
 * gives (mach_i386.defs: i386_io_perm_create): no driver of the kernel takes part, so that a kernel
 * whose memory is deadlocked can still be talked to. There are no files and no shell here: a
 * command is `workload` with its arguments or one of the few others that `help` lists.
 */
#include "frames.h"
#include "mach.h"

enum { OUTPUT_CHUNK = 1024, MAX_WORDS = 64 };
enum { COM2 = 0x2f8, DATA = 0, FIFO = 2, LINE = 3, STATUS = 5 };	/* a 16550's registers */
enum { POLL_MS = 10, BUSY_POLLS = 200 };
enum { STATUS_KILLED = 137, STATUS_UNKNOWN = 127 };

port_t host_privileged_port, device_master_port;

/* The workload that runs: its request, its words, and its end. */
static volatile uint16_t running;	/* 0: none */
static volatile int ended, end_status;
static char words[MAX_PAYLOAD + 1];
static char *word[MAX_WORDS];
static int word_count;

static uint8_t in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static void out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static void send_frame(int type, uint16_t id, const void *payload, size_t n)
{
	static uint8_t f[MAX_FRAME];
	size_t bytes = frame_encode(f, type, id, payload, n);

	for (size_t i = 0; i < bytes; i++) {
		while (!(in8(COM2 + STATUS) & 0x20))	/* room for a byte */
			swtch_pri(0);
		out8(COM2 + DATA, f[i]);
	}
}

static void send_text(int type, uint16_t id, const char *text)
{
	send_frame(type, id, text, length(text));
}

static void send_exit(uint16_t id, int status)
{
	uint8_t payload[4];

	put32(payload, (uint32_t)status);
	send_frame(F_EXIT, id, payload, sizeof payload);
}

void workload_ended(int status)
{
	end_status = status;
	ended = 1;
}

static void run_workload(void *unused)
{
	(void)unused;
	workload_ended(workload_main(word_count, word));
}

static void list_commands(uint16_t id)
{
	char text[512];

	format(text, sizeof text,
	       "workload KEY=VALUE...  runs %s, which is linked into this guest\n"
	       "trial SEED             leaves a mark on the console\n"
	       "help                   this list; there is no shell and there are no files\n",
	       workload_name);
	send_text(F_OUTPUT, id, text);
}

static void execute(uint16_t id, uint32_t flags, const char *command)
{
	char line[256];

	if (flags & FLAG_TERMINAL) {
		send_text(F_ERROR, id, "a GNU Mach guest has no shell: give a command, such as help");
		return;
	}
	if (running) {
		send_text(F_ERROR, id, "the workload runs already");
		return;
	}
	word_count = 0;
	memcpy(words, command, length(command) + 1);
	for (char *at = words; *at && word_count < MAX_WORDS; ) {
		while (*at == ' ')
			*at++ = 0;
		if (*at)
			word[word_count++] = at;
		while (*at && *at != ' ')
			at++;
	}
	if (word_count && same(word[0], "workload")) {
		running = id;
		ended = 0;
		start_thread(run_workload, NULL, 0);
	} else if (word_count == 2 && same(word[0], "trial")) {
		format(line, sizeof line, "harness: trial, seed %s\n", word[1]);
		mach_print(line);
		send_exit(id, 0);
	} else if (word_count && same(word[0], "help")) {
		list_commands(id);
		send_exit(id, 0);
	} else {
		format(line, sizeof line, "%s: no such command; see help\n",
		       word_count ? word[0] : "");
		send_text(F_OUTPUT, id, line);
		send_exit(id, STATUS_UNKNOWN);
	}
}

static void handle(const struct frame *f)
{
	switch (f->type) {
	case F_PING:
		send_frame(F_PONG, f->id, f->payload, f->length);
		break;
	case F_EXEC:
		execute(f->id, f->flags, (const char *)f->payload);
		break;
	case F_KILL:
		/* its threads may be stuck in the kernel: they are left where they are */
		if (running == f->id)
			workload_ended(STATUS_KILLED);
		break;
	case F_WINSIZE:
		break;
	case F_POWEROFF:
		send_text(F_ERROR, f->id, "GNU Mach cannot power off: end QEMU");
		break;
	default:
		send_text(F_ERROR, f->id, "a GNU Mach guest has no files");
	}
}

static void handle_all(struct frame_buffer *buffer)
{
	static struct frame frame;
	enum frame_found found;

	while ((found = frame_decode(buffer, &frame)) != FRAME_NONE)
		if (found == FRAME_WHOLE)
			handle(&frame);
		else
			send_text(F_ERROR, 0, "bad checksum");
}

static void forward_output(void)
{
	static char chunk[OUTPUT_CHUNK];
	int over = ended;	/* looked at first: what came before the end is sent before it */
	int n;

	while ((n = read_output(chunk, sizeof chunk)) > 0)
		send_frame(F_OUTPUT, running, chunk, (size_t)n);
	if (running && over) {
		send_exit(running, end_status);
		running = 0;
	}
}

static void serve(void)
{
	static struct frame_buffer buffer;
	int idle = 0;

	send_frame(F_READY, 0, NULL, 0);
	for (;;) {
		int got = 0;

		while (buffer.have < sizeof buffer.bytes && in8(COM2 + STATUS) & 1) {
			buffer.bytes[buffer.have++] = in8(COM2 + DATA);
			got = 1;
		}
		if (got)
			handle_all(&buffer);
		forward_output();
		/* a frame is longer than the port's buffer: the rest of it is on its way */
		idle = got ? 0 : idle + 1;
		if (idle > (buffer.have ? BUSY_POLLS : 0))
			sleep_ms(POLL_MS);
	}
}

static port_t port_of(const char *digits)
{
	port_t value = 0;

	while (*digits >= '0' && *digits <= '9')
		value = value * 10 + (port_t)(*digits++ - '0');
	return value;
}

__attribute__((noreturn)) static void give_up(const char *what, kern_return_t why)
{
	char line[128];

	format(line, sizeof line, "bootstrap: %s: %d\n", what, why);
	mach_print(line);
	for (;;)
		sleep_ms(1000);
}

__attribute__((used)) void start_program(uintptr_t *stack)
{
	char **argv = (char **)(stack + 1);
	port_t permission;
	kern_return_t failed;

	if (stack[0] < 3)
		give_up("started without the names of the host's and the device port", 0);
	host_privileged_port = port_of(argv[1]);
	device_master_port = port_of(argv[2]);
	failed = i386_io_perm_create(device_master_port, COM2, COM2 + 7, &permission);
	if (!failed)
		failed = i386_io_perm_modify(mach_task_self(), permission, 1);
	if (failed)
		give_up("no access to the control channel's port", failed);
	out8(COM2 + LINE, 0x03);	/* 8 bits, no parity */
	out8(COM2 + FIFO, 0x07);
	prepare_threads();
	serve();
	__builtin_unreachable();
}
