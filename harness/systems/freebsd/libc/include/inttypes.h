/* SPDX-License-Identifier: BSD-2-Clause */
/* Formats of fixed-width integers. */
#pragma once
#include <stdint.h>

#define PRId32 "d"
#define PRIi32 "i"
#define PRIu32 "u"
#define PRIx32 "x"
#define PRId64 "ld"
#define PRIi64 "li"
#define PRIu64 "lu"
#define PRIx64 "lx"
#define PRIXPTR "lX"
#define PRIxPTR "lx"
#define PRIdMAX "jd"
#define PRIuMAX "ju"
