/* SPDX-License-Identifier: BSD-2-Clause */
/* Threads on thr_new(2) and _umtx_op(2): creation, mutexes, conditions, barriers. */
#pragma once
#include <sched.h>
#include <signal.h>
#include <time.h>

typedef struct thread *pthread_t;
typedef struct {
	size_t stack_size;
} pthread_attr_t;
typedef struct {
	uint32_t word;
} pthread_mutex_t;
typedef struct {
	uint32_t sequence;
} pthread_cond_t;
typedef struct {
	uint32_t count, waiting, round;
} pthread_barrier_t;
typedef uint32_t pthread_once_t;
typedef int pthread_mutexattr_t, pthread_condattr_t, pthread_barrierattr_t;

#define PTHREAD_MUTEX_INITIALIZER { 0 }
#define PTHREAD_COND_INITIALIZER { 0 }
#define PTHREAD_ONCE_INIT 0
#define PTHREAD_BARRIER_SERIAL_THREAD (-1)

/* Attributes of mutexes, conditions and barriers must be NULL; all are private to a process. */
int pthread_create(pthread_t *out, const pthread_attr_t *attributes, void *(*run)(void *), void *argument);
int pthread_join(pthread_t thread, void **result);
void pthread_exit(void *result) __attribute__((noreturn));
pthread_t pthread_self(void);
int pthread_kill(pthread_t thread, int signal);
int pthread_attr_init(pthread_attr_t *attributes);
int pthread_attr_destroy(pthread_attr_t *attributes);
int pthread_attr_setstacksize(pthread_attr_t *attributes, size_t n);
int pthread_setaffinity_np(pthread_t thread, size_t size, const cpu_set_t *set);
int pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes);
int pthread_mutex_destroy(pthread_mutex_t *mutex);
int pthread_mutex_lock(pthread_mutex_t *mutex);
int pthread_mutex_trylock(pthread_mutex_t *mutex);
int pthread_mutex_unlock(pthread_mutex_t *mutex);
int pthread_cond_init(pthread_cond_t *condition, const pthread_condattr_t *attributes);
int pthread_cond_destroy(pthread_cond_t *condition);
int pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex);
int pthread_cond_signal(pthread_cond_t *condition);
int pthread_cond_broadcast(pthread_cond_t *condition);
int pthread_barrier_init(pthread_barrier_t *barrier, const pthread_barrierattr_t *attributes, unsigned int count);
int pthread_barrier_destroy(pthread_barrier_t *barrier);
int pthread_barrier_wait(pthread_barrier_t *barrier);
int pthread_sigmask(int how, const sigset_t *wanted, sigset_t *before);
