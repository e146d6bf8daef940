/* SPDX-License-Identifier: BSD-2-Clause */
/* POSIX threads on thr_new(2) and _umtx_op(2). */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "syscall.h"

struct thread {
	long id;		/* the kernel's */
	atomic_long ended;	/* set to 1 by the kernel, which also wakes who waits for it */
	void *(*run)(void *);
	void *argument, *result;
	void *memory;		/* stack, then the thread's own variables */
	size_t memory_size;
};

/* sys/sys/thr.h */
struct thr_param {
	void (*start)(void *);
	void *argument;
	char *stack;
	size_t stack_size;
	char *tls;
	size_t tls_size;
	long *child_id, *parent_id;
	int flags;
	void *priority, *spare[3];
};

/* sys/sys/umtx.h */
enum { WAIT = 2, WAIT_PRIVATE = 15, WAKE_PRIVATE = 16 };
enum { STACK = 256 * 1024 };
enum { FREE = 0, TAKEN = 1, WAITED_FOR = 2 };

static struct thread first_thread;
static __thread struct thread *this_thread;

static void wait_while(uint32_t *word, uint32_t value)
{
	CALL5(SYS_umtx_op, word, WAIT_PRIVATE, value, 0, 0);
}

static void wake(uint32_t *word, uint32_t count)
{
	CALL5(SYS_umtx_op, word, WAKE_PRIVATE, count, 0, 0);
}

pthread_t pthread_self(void)
{
	if (!this_thread) {
		CALL1(SYS_thr_self, &first_thread.id);
		this_thread = &first_thread;
	}
	return this_thread;
}

static void begin_thread(void *argument)
{
	struct thread *thread = argument;

	this_thread = thread;
	pthread_exit(thread->run(thread->argument));
}

void pthread_exit(void *result)
{
	struct thread *self = pthread_self();

	self->result = result;
	for (;;)
		CALL1(SYS_thr_exit, &self->ended);
}

int pthread_create(pthread_t *out, const pthread_attr_t *attributes, void *(*run)(void *),
		   void *argument)
{
	size_t stack = attributes && attributes->stack_size ? attributes->stack_size : STACK;
	size_t size = (stack + thread_memory_size() + 4095) & ~4095ul;
	struct thread *thread = calloc(1, sizeof *thread);
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);

	pthread_self();
	if (!thread || (void *)memory == MAP_FAILED) {
		free(thread);
		return EAGAIN;
	}
	*thread = (struct thread){ .run = run, .argument = argument, .memory = memory,
				   .memory_size = size };
	struct thr_param param = {
		.start = begin_thread, .argument = thread, .stack = memory, .stack_size = stack & ~15ul,
		.tls = make_thread_memory(memory + stack, thread), .tls_size = thread_memory_size(),
		.child_id = &thread->id, .parent_id = &thread->id,
	};
	*out = thread;
	long result = CALL2(SYS_thr_new, &param, sizeof param);

	if (result) {
		munmap(memory, size);
		free(thread);
	}
	return (int)-result;
}

int pthread_join(pthread_t thread, void **result)
{
	while (!atomic_load(&thread->ended))
		CALL5(SYS_umtx_op, &thread->ended, WAIT, 0, 0, 0);
	if (result)
		*result = thread->result;
	if (thread != &first_thread) {
		munmap(thread->memory, thread->memory_size);
		free(thread);
	}
	return 0;
}

int pthread_kill(pthread_t thread, int signal)
{
	return (int)-CALL2(SYS_thr_kill, thread->id, signal);
}

int pthread_attr_init(pthread_attr_t *attributes)
{
	*attributes = (pthread_attr_t){ 0 };
	return 0;
}

int pthread_attr_destroy(pthread_attr_t *attributes)
{
	(void)attributes;
	return 0;
}

int pthread_attr_setstacksize(pthread_attr_t *attributes, size_t n)
{
	attributes->stack_size = n;
	return 0;
}

int pthread_setaffinity_np(pthread_t thread, size_t size, const cpu_set_t *set)
{
	if (thread != pthread_self())
		return ENOTSUP;
	return sched_setaffinity(0, size, set) ? errno : 0;
}

int pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes)
{
	mutex->word = FREE;
	return attributes ? ENOTSUP : 0;
}

int pthread_mutex_destroy(pthread_mutex_t *mutex)
{
	return mutex->word == FREE ? 0 : EBUSY;
}

/* Drepper, "Futexes Are Tricky", 2011, mutex 2. */
int pthread_mutex_trylock(pthread_mutex_t *mutex)
{
	uint32_t expected = FREE;

	return __atomic_compare_exchange_n(&mutex->word, &expected, TAKEN, 0, __ATOMIC_ACQUIRE,
					   __ATOMIC_RELAXED) ? 0 : EBUSY;
}

int pthread_mutex_lock(pthread_mutex_t *mutex)
{
	if (pthread_mutex_trylock(mutex) == 0)
		return 0;
	while (__atomic_exchange_n(&mutex->word, WAITED_FOR, __ATOMIC_ACQUIRE) != FREE)
		wait_while(&mutex->word, WAITED_FOR);
	return 0;
}

int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
	if (__atomic_exchange_n(&mutex->word, FREE, __ATOMIC_RELEASE) == WAITED_FOR)
		wake(&mutex->word, 1);
	return 0;
}

int pthread_cond_init(pthread_cond_t *condition, const pthread_condattr_t *attributes)
{
	condition->sequence = 0;
	return attributes ? ENOTSUP : 0;
}

int pthread_cond_destroy(pthread_cond_t *condition)
{
	(void)condition;
	return 0;
}

int pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex)
{
	uint32_t seen = __atomic_load_n(&condition->sequence, __ATOMIC_ACQUIRE);

	pthread_mutex_unlock(mutex);
	wait_while(&condition->sequence, seen);
	return pthread_mutex_lock(mutex);
}

int pthread_cond_signal(pthread_cond_t *condition)
{
	__atomic_add_fetch(&condition->sequence, 1, __ATOMIC_RELEASE);
	wake(&condition->sequence, 1);
	return 0;
}

int pthread_cond_broadcast(pthread_cond_t *condition)
{
	__atomic_add_fetch(&condition->sequence, 1, __ATOMIC_RELEASE);
	wake(&condition->sequence, INT32_MAX);
	return 0;
}

int pthread_barrier_init(pthread_barrier_t *barrier, const pthread_barrierattr_t *attributes,
			 unsigned int count)
{
	*barrier = (pthread_barrier_t){ .count = count };
	return attributes ? ENOTSUP : count ? 0 : EINVAL;
}

int pthread_barrier_destroy(pthread_barrier_t *barrier)
{
	(void)barrier;
	return 0;
}

int pthread_barrier_wait(pthread_barrier_t *barrier)
{
	uint32_t round = __atomic_load_n(&barrier->round, __ATOMIC_ACQUIRE);

	if (__atomic_add_fetch(&barrier->waiting, 1, __ATOMIC_ACQ_REL) == barrier->count) {
		__atomic_store_n(&barrier->waiting, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&barrier->round, round + 1, __ATOMIC_RELEASE);
		wake(&barrier->round, INT32_MAX);
		return PTHREAD_BARRIER_SERIAL_THREAD;
	}
	while (__atomic_load_n(&barrier->round, __ATOMIC_ACQUIRE) == round)
		wait_while(&barrier->round, round);
	return 0;
}
