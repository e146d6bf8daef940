/* SPDX-License-Identifier: BSD-2-Clause */
/* mkdir(2). */
#pragma once
#include <sys/types.h>

int mkdir(const char *path, mode_t mode);
