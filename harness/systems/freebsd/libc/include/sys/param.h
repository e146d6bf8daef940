/* SPDX-License-Identifier: BSD-2-Clause */
/* Sizes, and the release that the headers follow. */
#pragma once
#include <sys/types.h>

#define MAXPATHLEN 1024
#define PAGE_SIZE 4096
#define nitems(array) (sizeof(array) / sizeof((array)[0]))
#define howmany(n, of) (((n) + (of) - 1) / (of))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
