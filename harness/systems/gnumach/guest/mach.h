/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a workload of a GNU Mach guest has instead of a C library: kernel calls, threads, time, text
 * and the lines that the harness reads (docs/targets.md).
 *
 * A workload is one C file that includes this one and defines workload_main(). It is linked into
 * the bootstrap program, which the kernel starts as its only task, and runs in a thread of its own
 * when the control channel asks for it. No code of GNU Mach is in here: the formats of messages
 * and the numbers of calls are those of its include/mach/message.h and its .defs files.
 */
#ifndef HARNESS_MACH_H
#define HARNESS_MACH_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

typedef int kern_return_t;
typedef uint32_t port_t;
typedef uintptr_t address_t;

enum { KERN_SUCCESS = 0 };
enum { PORT_RIGHT_RECEIVE = 1, PORT_RIGHT_PORT_SET = 3 };	/* mach/port.h */
enum { MAX_THREADS = 32 };

/* The two ports that the kernel gives to its bootstrap program. */
extern port_t host_privileged_port, device_master_port;

/* Traps */
extern port_t mach_reply_port(void), mach_thread_self(void), mach_task_self(void);
extern port_t mach_host_self(void);
extern void mach_print(const char *text);	/* to the console */
extern int swtch_pri(int priority);		/* lets others run */

/* Calls of the kernel; each returns what the kernel answered, or the failure of the message. */
kern_return_t vm_allocate(port_t task, address_t *address, size_t size, int anywhere);
kern_return_t vm_deallocate(port_t task, address_t address, size_t size);
kern_return_t task_threads(port_t task, address_t *threads, uint32_t *count);
kern_return_t thread_create(port_t task, port_t *thread);
kern_return_t thread_resume(port_t thread);
kern_return_t thread_terminate(port_t thread);
kern_return_t thread_assign(port_t thread, port_t processor_set);
kern_return_t thread_priority(port_t thread, int priority, int set_maximum);
kern_return_t mach_port_names(port_t task, address_t *names, uint32_t *name_count,
			      address_t *types, uint32_t *type_count);
kern_return_t mach_port_allocate(port_t task, int right, port_t *name);
kern_return_t mach_port_deallocate(port_t task, port_t name);
kern_return_t mach_port_destroy(port_t task, port_t name);
kern_return_t mach_port_mod_refs(port_t task, port_t name, int right, int delta);
kern_return_t mach_port_move_member(port_t task, port_t member, port_t set);
kern_return_t mach_port_get_set_status(port_t task, port_t set, address_t *members,
				       uint32_t *count);
kern_return_t host_processor_sets(port_t host, address_t *sets, uint32_t *count);
kern_return_t host_processor_set_priv(port_t host_priv, port_t name, port_t *set);
kern_return_t processor_set_default(port_t host, port_t *name);
kern_return_t host_get_time64(port_t host, int64_t *seconds, int64_t *nanoseconds);
kern_return_t i386_io_perm_create(port_t master, uint16_t from, uint16_t to, port_t *permission);
kern_return_t i386_io_perm_modify(port_t task, port_t permission, int enable);

/*
 * An array of port names that the kernel made in our memory: `bytes` a name. Releasing it gives
 * back the memory and one reference to each port.
 */
void release_ports(address_t array, uint32_t count);
port_t port_at(address_t array, uint32_t index);

/* Threads: on the first processor with `cpu` 0, on the others otherwise, where there are others. */
void start_thread(void (*run)(void *), void *argument, unsigned cpu);
void end_thread(void) __attribute__((noreturn));
unsigned processor_set_count(void);
void sleep_ms(unsigned milliseconds);		/* at the kernel's clock, 10 ms steps */

/* A short critical section between threads of any CPU. */
struct lock { volatile int taken; };
void lock(struct lock *it);
void unlock(struct lock *it);

/* Text. %s %c %d %u %ld %lu %x %lx %%, and a width with or without 0; long is as wide as a pointer. */
size_t length(const char *text);
int same(const char *one, const char *other);
int format(char *into, size_t room, const char *how, ...) __attribute__((format(printf, 3, 4)));
int format_list(char *into, size_t room, const char *how, va_list values);
void *memcpy(void *to, const void *from, size_t n);
void *memset(void *at, int value, size_t n);
void *memmove(void *to, const void *from, size_t n);
int memcmp(const void *one, const void *other, size_t n);

/* The workload's side of the harness's protocol, as in workloads/harness_workload.h. */
int workload_main(int argc, char **argv);	/* what it returns is its exit status */
extern const char workload_name[];		/* what people call it */

void start_workload(void);
unsigned long milliseconds_since_start(void);
void report(const char *event, const char *how, ...) __attribute__((format(printf, 2, 3)));
void fail_to_run(const char *how, ...) __attribute__((format(printf, 1, 2), noreturn));
const char *argument(int argc, char **argv, const char *key, const char *otherwise);
long number(int argc, char **argv, const char *key, long otherwise);
uint64_t seed_of(int argc, char **argv);

/* A function for failpoints to be set at: `workload:NAME` in a target. */
#define WORKLOAD_PLACE(name)						\
	__attribute__((noinline, noclone, used, externally_visible))	\
	void name(void) { __asm__ volatile("nop" ::: "memory"); }

/* splitmix64 (Steele, Lea and Flood, OOPSLA 2014) */
static inline uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* The control channel's own parts, not for workloads. */
struct thread {
	port_t reply;
	void (*run)(void *);
	void *argument;
};
struct thread *current(void);
void write_output(const char *data, size_t n);
int read_output(char *into, size_t room);
void workload_ended(int status);
void prepare_threads(void);
kern_return_t thread_set_start(port_t thread, void (*pc)(void), uintptr_t sp);

#endif
