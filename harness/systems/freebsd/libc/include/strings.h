/* SPDX-License-Identifier: BSD-2-Clause */
/* bzero and ffs. */
#pragma once
#include <string.h>

#define bzero(at, n) ((void)memset(at, 0, n))
#define ffs(n) __builtin_ffs(n)
#define ffsl(n) __builtin_ffsl(n)
