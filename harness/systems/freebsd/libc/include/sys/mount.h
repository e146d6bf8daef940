/* SPDX-License-Identifier: BSD-2-Clause */
/* nmount(2): names and values in turn. */
#pragma once
#include <sys/uio.h>

#define MNT_RDONLY 0x1
#define MNT_UPDATE 0x10000
#define MNT_FORCE 0x80000

int nmount(struct iovec *options, unsigned int count, int flags);
int unmount(const char *path, int flags);
