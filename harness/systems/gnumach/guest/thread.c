/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Threads: start code, stacks, spread over the processors, and ends.
 *
 * GNU Mach keeps the processors beside the first in a second processor set of their own
 * (kern/machine.c: slave_pset): a thread runs there only once it has been assigned to it.
 */
#include "mach.h"

enum { STACK = 65536 };

/* What a thread has of its own stands at the lowest address of its stack, which is aligned. */
char first_stack[STACK] __attribute__((used, aligned(65536)));
static port_t other_processors;
static unsigned processor_sets = 1;

#ifdef __x86_64__
#define TRAP(name, number)						\
	__asm__(".globl " #name "\n" #name ":\n"			\
		"	mov %rcx, %r10\n"				\
		"	mov $" #number ", %rax\n"			\
		"	syscall\n"					\
		"	ret\n")

__asm__(".globl _start\n_start:\n"
	"	mov %rsp, %rdi\n"
	"	lea first_stack + 65536(%rip), %rsp\n"
	"	xor %ebp, %ebp\n"
	"	call start_program\n"
	"	hlt\n");
#else
#define TRAP(name, number)						\
	__asm__(".globl " #name "\n" #name ":\n"			\
		"	mov $" #number ", %eax\n"			\
		"	lcall $7, $0\n"					\
		"	ret\n")

__asm__(".globl _start\n_start:\n"
	"	mov %esp, %eax\n"
	"	mov $first_stack + 65536 - 12, %esp\n"
	"	xor %ebp, %ebp\n"
	"	push %eax\n"
	"	call start_program\n"
	"	hlt\n");
#endif

TRAP(mach_msg_trap, -25);
TRAP(mach_reply_port, -26);
TRAP(mach_thread_self, -27);
TRAP(mach_task_self, -28);
TRAP(mach_host_self, -29);
TRAP(mach_print, -30);
TRAP(swtch_pri, -59);

struct thread *current(void)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);

	return (struct thread *)(here & ~(uintptr_t)(STACK - 1));
}

void lock(struct lock *it)
{
	while (__atomic_exchange_n(&it->taken, 1, __ATOMIC_ACQUIRE))
		swtch_pri(0);
}

void unlock(struct lock *it)
{
	__atomic_store_n(&it->taken, 0, __ATOMIC_RELEASE);
}

/* Finds the set of the other processors. Call it once, before the first start_thread(). */
void prepare_threads(void)
{
	address_t sets;
	uint32_t count;
	port_t first = 0;

	if (processor_set_default(mach_host_self(), &first) ||
	    host_processor_sets(host_privileged_port, &sets, &count))
		return;
	for (uint32_t i = 0; i < count; i++)
		if (port_at(sets, i) != first)
			host_processor_set_priv(host_privileged_port, port_at(sets, i),
						&other_processors);
	processor_sets = count;
	release_ports(sets, count);
}

unsigned processor_set_count(void)
{
	return processor_sets;
}

static void run_thread(void)
{
	struct thread *me = current();

	me->run(me->argument);
	end_thread();
}

/* Its stack stays: threads are few, and a guest lives for one workload. */
void end_thread(void)
{
	for (;;) {
		thread_terminate(mach_thread_self());
		sleep_ms(1000);
	}
}

void start_thread(void (*run)(void *), void *argument, unsigned cpu)
{
	address_t room = 0;
	port_t thread;
	kern_return_t failed = vm_allocate(mach_task_self(), &room, 2 * STACK, 1);

	if (failed)
		fail_to_run("no memory for a thread's stack: %d", failed);
	address_t stack = (room + STACK - 1) & ~(address_t)(STACK - 1);

	*(struct thread *)stack = (struct thread){ .run = run, .argument = argument };
	failed = thread_create(mach_task_self(), &thread);
	if (!failed)
		/* as after a call: a return address, which nothing returns to, on an aligned stack */
		failed = thread_set_start(thread, run_thread,
					  stack + STACK - 64 - sizeof(uintptr_t));
	if (!failed && cpu > 0 && other_processors)
		failed = thread_assign(thread, other_processors);
	if (!failed)
		failed = thread_resume(thread);
	if (failed)
		fail_to_run("cannot start a thread: %d", failed);
}
