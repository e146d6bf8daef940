/* SPDX-License-Identifier: BSD-2-Clause */
/* setrlimit(2). */
#pragma once
#include <sys/types.h>

typedef int64_t rlim_t;
struct rlimit {
	rlim_t rlim_cur, rlim_max;
};

#define RLIMIT_CORE 4
#define RLIMIT_DATA 2
#define RLIM_INFINITY ((rlim_t)(((uint64_t)1 << 63) - 1))

int getrlimit(int which, struct rlimit *limit);
int setrlimit(int which, const struct rlimit *limit);
