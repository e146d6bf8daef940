/* SPDX-License-Identifier: BSD-2-Clause */
/* Types of FreeBSD's system calls on 64-bit machines (sys/sys/_types.h). */
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef int64_t ssize_t;
typedef int64_t off_t;
typedef int32_t pid_t;
typedef uint32_t uid_t;
typedef uint32_t gid_t;
typedef uint16_t mode_t;
typedef uint64_t dev_t;
typedef uint64_t ino_t;
typedef uint64_t nlink_t;
typedef int32_t blksize_t;
typedef int64_t blkcnt_t;
typedef int64_t time_t;
typedef int64_t suseconds_t;
typedef int32_t clockid_t;
typedef uint32_t useconds_t;
typedef unsigned int u_int;
typedef unsigned char u_char;
typedef unsigned long u_long;
