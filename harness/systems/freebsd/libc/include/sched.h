/* SPDX-License-Identifier: BSD-2-Clause */
/* Scheduling, and CPU sets as on Linux. */
#pragma once
#include <sys/types.h>

#define CPU_SETSIZE 1024

typedef struct {
	uint64_t bits[CPU_SETSIZE / 64];
} cpu_set_t;

#define CPU_ZERO(set) (*(set) = (cpu_set_t){ { 0 } })
#define CPU_SET(cpu, set) ((void)((set)->bits[(cpu) / 64] |= 1ul << (cpu) % 64))
#define CPU_CLR(cpu, set) ((void)((set)->bits[(cpu) / 64] &= ~(1ul << (cpu) % 64)))
#define CPU_ISSET(cpu, set) ((set)->bits[(cpu) / 64] >> (cpu) % 64 & 1)

int sched_yield(void);
/* `pid` 0 is the calling thread. */
int sched_setaffinity(pid_t pid, size_t size, const cpu_set_t *set);
int sched_getaffinity(pid_t pid, size_t size, cpu_set_t *set);
