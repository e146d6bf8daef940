/* SPDX-License-Identifier: BSD-2-Clause */
/* The kernel's environment (kenv(2)). */
#pragma once
#define KENV_GET 0
#define KENV_SET 1
#define KENV_UNSET 2
#define KENV_DUMP 3

int kenv(int what, const char *name, char *value, int n);
