/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Calls of the kernel, which are messages: built, sent and taken apart here.
 *
 * The numbers are those that MIG gives to the routines of GNU Mach's mach.defs (from 2000),
 * mach_host.defs (2600), mach_port.defs (3200) and i386/mach_i386.defs (3800); they have not changed
 * since the 64-bit user ABI of 2023. A message's header and its type descriptors: mach/message.h.
 */
#include "mach.h"

enum { SEND = 1, RECEIVE = 2, RECEIVE_TIMEOUT = 0x100 };
enum { COPY_SEND = 19, MAKE_SEND_ONCE = 21 };
enum { T_BOOLEAN = 0, T_INTEGER_16 = 1, T_INTEGER_32 = 2, T_INTEGER_64 = 11, T_PORT_NAME = 15, T_COPY_SEND = COPY_SEND };
enum { COMPLEX = (int)0x80000000 };
enum { BAD_REPLY = -300 };	/* MIG_TYPE_ERROR */
enum { WORD = sizeof(uintptr_t) };

struct header {
	uint32_t bits, size;
	uintptr_t remote, local;	/* names; as wide as a kernel pointer */
	uint32_t sequence;
	int32_t id;
};

struct descriptor {
#ifdef __LP64__
	uint32_t name : 8, size : 16, unused : 5, in_line : 1, long_form : 1, deallocate : 1;
	uint32_t number;
#else
	uint32_t name : 8, size : 8, number : 12, in_line : 1, long_form : 1, deallocate : 1, unused : 1;
#endif
};

struct long_descriptor {
	struct descriptor head;
#ifndef __LP64__
	uint16_t name, size;
	uint32_t number;
#endif
};

/* A message being built, then its answer being read. */
struct call {
	struct header head;
	unsigned char body[2048];
	size_t at;
	kern_return_t broken;
};

extern int mach_msg_trap(void *message, int option, uint32_t send_size, uint32_t receive_size,
			 port_t receive, uint32_t timeout, port_t notify);

static void put(struct call *c, int type, unsigned bits, const void *data, unsigned count, size_t n)
{
	struct descriptor d = { .name = (unsigned)type, .size = bits, .number = count, .in_line = 1 };

	memcpy(c->body + c->at, &d, sizeof d);
	memcpy(c->body + c->at + sizeof d, data, n);
	memset(c->body + c->at + sizeof d + n, 0, -n & (WORD - 1));
	c->at += sizeof d + ((n + WORD - 1) & ~(size_t)(WORD - 1));
}

static void begin(struct call *c, port_t to, int id)
{
	c->head = (struct header){ .bits = COPY_SEND | MAKE_SEND_ONCE << 8, .remote = to, .id = id };
	c->at = 0;
	c->broken = KERN_SUCCESS;
}

static void put_int(struct call *c, int32_t value)
{
	put(c, T_INTEGER_32, 32, &value, 1, sizeof value);
}

static void put_boolean(struct call *c, int32_t value)
{
	put(c, T_BOOLEAN, 32, &value, 1, sizeof value);
}

static void put_name(struct call *c, port_t name)
{
	put(c, T_PORT_NAME, 32, &name, 1, sizeof name);
}

static void put_word(struct call *c, uintptr_t value)
{
	put(c, WORD == 8 ? T_INTEGER_64 : T_INTEGER_32, 8 * WORD, &value, 1, sizeof value);
}

static void put_port(struct call *c, port_t port)
{
	uintptr_t name = port;

	put(c, T_COPY_SEND, 8 * WORD, &name, 1, sizeof name);
	c->head.bits |= (uint32_t)COMPLEX;
}

/* The next item of the answer: `n` bytes within the message. */
static void get(struct call *c, void *data, size_t n)
{
	struct descriptor d;

	if (c->broken)
		return;
	memcpy(&d, c->body + c->at, sizeof d);
	if (c->at + sizeof d + n > c->head.size - sizeof c->head || !d.in_line || d.long_form ||
	    d.size * d.number != 8 * n) {
		c->broken = BAD_REPLY;
		return;
	}
	memcpy(data, c->body + c->at + sizeof d, n);
	c->at += sizeof d + ((n + WORD - 1) & ~(size_t)(WORD - 1));
}

static void get_port(struct call *c, port_t *port)
{
	uintptr_t name = 0;

	get(c, &name, sizeof name);
	*port = (port_t)name;
}

/* An array that the kernel put into our memory; `count` elements of at least four bytes. */
static void get_array(struct call *c, address_t *array, uint32_t *count)
{
	struct long_descriptor d;
	size_t size;

	*array = 0;
	*count = 0;
	if (c->broken)
		return;
	memcpy(&d, c->body + c->at, sizeof d);
	size = d.head.long_form ? sizeof d : sizeof d.head;
	if (c->at + size + WORD > c->head.size - sizeof c->head || d.head.in_line) {
		c->broken = BAD_REPLY;
		return;
	}
	memcpy(array, c->body + c->at + size, WORD);
#ifdef __LP64__
	*count = d.head.number;
#else
	*count = d.head.long_form ? d.number : d.head.number;
#endif
	c->at += size + WORD;
}

static kern_return_t call(struct call *c)
{
	struct thread *me = current();
	int id = c->head.id;
	int32_t code = 0;

	if (!me->reply)
		me->reply = mach_reply_port();
	c->head.local = me->reply;
	c->head.size = (uint32_t)(sizeof c->head + c->at);
	int failed = mach_msg_trap(c, SEND | RECEIVE, c->head.size, sizeof c->head + sizeof c->body,
				   me->reply, 0, 0);
	if (failed)
		return failed;
	c->at = 0;
	if (c->head.id != id + 100)
		return BAD_REPLY;
	get(c, &code, sizeof code);
	if (c->broken || code)
		c->broken = c->broken ? c->broken : code;
	return c->broken;
}

kern_return_t vm_allocate(port_t task, address_t *address, size_t size, int anywhere)
{
	struct call c;

	begin(&c, task, 2021);
	put_word(&c, *address);
	put_word(&c, size);
	put_boolean(&c, anywhere);
	if (!call(&c))
		get(&c, address, sizeof *address);
	return c.broken;
}

kern_return_t vm_deallocate(port_t task, address_t address, size_t size)
{
	struct call c;

	begin(&c, task, 2023);
	put_word(&c, address);
	put_word(&c, size);
	return call(&c);
}

kern_return_t task_threads(port_t task, address_t *threads, uint32_t *count)
{
	struct call c;

	begin(&c, task, 2011);
	if (!call(&c))
		get_array(&c, threads, count);
	return c.broken;
}

kern_return_t thread_create(port_t task, port_t *thread)
{
	struct call c;

	begin(&c, task, 2061);
	if (!call(&c))
		get_port(&c, thread);
	return c.broken;
}

kern_return_t thread_resume(port_t thread)
{
	struct call c;

	begin(&c, thread, 2063);
	return call(&c);
}

kern_return_t thread_terminate(port_t thread)
{
	struct call c;

	begin(&c, thread, 2016);
	return call(&c);
}

/* mach/i386/thread_status.h: i386_REGS_SEGS_STATE, as an array of 32-bit words */
#ifdef __x86_64__
struct state {
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, unused_rsp, rbx, rdx, rcx, rax;
	uint64_t pc;
	uint32_t cs;
	uint64_t flags, sp;
	uint32_t ss;
};
#else
struct state {
	uint32_t gs, fs, es, ds, edi, esi, ebp, unused_esp, ebx, edx, ecx, eax, pc, cs, flags, sp, ss;
};
#endif
enum { REGS_SEGS_STATE = 5 };

/* The kernel's own segments are kept: the state is read, changed and written back. */
kern_return_t thread_set_start(port_t thread, void (*pc)(void), uintptr_t sp)
{
	struct call c;
	struct state state;
	int32_t count = sizeof state / 4;

	begin(&c, thread, 2017);
	put_int(&c, REGS_SEGS_STATE);
	put_int(&c, count);
	if (!call(&c))
		get(&c, &state, sizeof state);
	if (c.broken)
		return c.broken;
	state.pc = (uintptr_t)pc;
	state.sp = sp;
	begin(&c, thread, 2018);
	put_int(&c, REGS_SEGS_STATE);
	put(&c, T_INTEGER_32, 32, &state, sizeof state / 4, sizeof state);
	return call(&c);
}

kern_return_t thread_assign(port_t thread, port_t processor_set)
{
	struct call c;

	begin(&c, thread, 2613);
	put_port(&c, processor_set);
	return call(&c);
}

kern_return_t thread_priority(port_t thread, int priority, int set_maximum)
{
	struct call c;

	begin(&c, thread, 2620);
	put_int(&c, priority);
	put_boolean(&c, set_maximum);
	return call(&c);
}

kern_return_t mach_port_names(port_t task, address_t *names, uint32_t *name_count,
			      address_t *types, uint32_t *type_count)
{
	struct call c;

	begin(&c, task, 3200);
	if (!call(&c)) {
		get_array(&c, names, name_count);
		get_array(&c, types, type_count);
	}
	return c.broken;
}

kern_return_t mach_port_allocate(port_t task, int right, port_t *name)
{
	struct call c;
	uint32_t got = 0;

	begin(&c, task, 3204);
	put_int(&c, right);
	if (!call(&c))
		get(&c, &got, sizeof got);
	*name = got;
	return c.broken;
}

kern_return_t mach_port_destroy(port_t task, port_t name)
{
	struct call c;

	begin(&c, task, 3205);
	put_name(&c, name);
	return call(&c);
}

kern_return_t mach_port_deallocate(port_t task, port_t name)
{
	struct call c;

	begin(&c, task, 3206);
	put_name(&c, name);
	return call(&c);
}

kern_return_t mach_port_mod_refs(port_t task, port_t name, int right, int delta)
{
	struct call c;

	begin(&c, task, 3208);
	put_name(&c, name);
	put_int(&c, right);
	put_int(&c, delta);
	return call(&c);
}

kern_return_t mach_port_get_set_status(port_t task, port_t set, address_t *members, uint32_t *count)
{
	struct call c;

	begin(&c, task, 3212);
	put_name(&c, set);
	if (!call(&c))
		get_array(&c, members, count);
	return c.broken;
}

kern_return_t mach_port_move_member(port_t task, port_t member, port_t set)
{
	struct call c;

	begin(&c, task, 3213);
	put_name(&c, member);
	put_name(&c, set);
	return call(&c);
}

kern_return_t processor_set_default(port_t host, port_t *name)
{
	struct call c;

	begin(&c, host, 2606);
	if (!call(&c))
		get_port(&c, name);
	return c.broken;
}

kern_return_t host_processor_sets(port_t host, address_t *sets, uint32_t *count)
{
	struct call c;

	begin(&c, host, 2629);
	if (!call(&c))
		get_array(&c, sets, count);
	return c.broken;
}

kern_return_t host_processor_set_priv(port_t host_priv, port_t name, port_t *set)
{
	struct call c;

	begin(&c, host_priv, 2630);
	put_port(&c, name);
	if (!call(&c))
		get_port(&c, set);
	return c.broken;
}

kern_return_t host_get_time64(port_t host, int64_t *seconds, int64_t *nanoseconds)
{
	struct call c;
	int64_t time[2] = { 0, 0 };

	begin(&c, host, 2643);
	if (!call(&c))
		get(&c, time, sizeof time);
	*seconds = time[0];
	*nanoseconds = time[1];
	return c.broken;
}

kern_return_t i386_io_perm_create(port_t master, uint16_t from, uint16_t to, port_t *permission)
{
	struct call c;

	begin(&c, master, 3805);
	put(&c, T_INTEGER_16, 16, &from, 1, sizeof from);
	put(&c, T_INTEGER_16, 16, &to, 1, sizeof to);
	if (!call(&c))
		get_port(&c, permission);
	return c.broken;
}

kern_return_t i386_io_perm_modify(port_t task, port_t permission, int enable)
{
	struct call c;

	begin(&c, task, 3806);
	put_port(&c, permission);
	put_boolean(&c, enable);
	return call(&c);
}

/* MIG hands arrays of ports to 64-bit programs as arrays of 32-bit names, as to 32-bit ones. */
port_t port_at(address_t array, uint32_t index)
{
	return ((const uint32_t *)array)[index];
}

void release_ports(address_t array, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		mach_port_deallocate(mach_task_self(), port_at(array, i));
	if (count)
		vm_deallocate(mach_task_self(), array, count * sizeof(uint32_t));
}

/* Waits on a port that nothing is sent to; the kernel rounds up to its clock's ticks. */
void sleep_ms(unsigned milliseconds)
{
	static port_t silent;
	struct header nothing;

	if (!silent)
		silent = mach_reply_port();
	mach_msg_trap(&nothing, RECEIVE | RECEIVE_TIMEOUT, 0, sizeof nothing, silent, milliseconds, 0);
}
