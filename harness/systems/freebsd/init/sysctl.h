/* SPDX-License-Identifier: BSD-2-Clause */
/* The command `sysctl`. */
#pragma once

/* `[-n] NAME…` prints values, of a node those below it; `NAME=VALUE` sets one. The exit status. */
int run_sysctl(char **words, int count);
