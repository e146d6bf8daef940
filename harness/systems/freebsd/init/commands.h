/* SPDX-License-Identifier: BSD-2-Clause */
/* The micro-guest's commands. */
#pragma once

/* Runs a text of commands in the calling process, which it may replace; the exit status. */
int run_commands(char *text);
/* Reads lines from the terminal, and runs each in a process of its own, until its end. */
int serve_prompt(void);
