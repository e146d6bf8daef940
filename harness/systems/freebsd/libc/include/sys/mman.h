/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory maps (mmap(2), madvise(2), minherit(2)). */
#pragma once
#include <sys/types.h>

#define PROT_NONE 0x0
#define PROT_READ 0x1
#define PROT_WRITE 0x2
#define PROT_EXEC 0x4
#define MAP_SHARED 0x1
#define MAP_PRIVATE 0x2
#define MAP_FIXED 0x10
#define MAP_STACK 0x400
#define MAP_ANON 0x1000
#define MAP_ANONYMOUS MAP_ANON
#define MAP_GUARD 0x2000
#define MAP_EXCL 0x4000
#define MAP_FAILED ((void *)-1)
#define MADV_NORMAL 0
#define MADV_RANDOM 1
#define MADV_SEQUENTIAL 2
#define MADV_WILLNEED 3
#define MADV_DONTNEED 4
#define MADV_FREE 5
#define MADV_NOSYNC 6
#define MADV_PROTECT 10
#define INHERIT_SHARE 0
#define INHERIT_COPY 1
#define INHERIT_NONE 2
#define MINCORE_INCORE 0x1
#define MINCORE_REFERENCED 0x2
#define MINCORE_MODIFIED 0x4

void *mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset);
int munmap(void *at, size_t n);
int mprotect(void *at, size_t n, int protection);
int madvise(void *at, size_t n, int advice);
int minherit(void *at, size_t n, int inherit);
int mincore(const void *at, size_t n, char *states);
int mlock(const void *at, size_t n);
int munlock(const void *at, size_t n);
int msync(void *at, size_t n, int flags);
