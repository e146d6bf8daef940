/* SPDX-License-Identifier: BSD-2-Clause */
/* getrandom(2). */
#pragma once
#include <sys/types.h>

ssize_t getrandom(void *buffer, size_t n, unsigned int flags);
