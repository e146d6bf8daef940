/* SPDX-License-Identifier: BSD-2-Clause */
/* What an init of a POSIX system serves the control channel with. */
#pragma once

/* What differs between systems. */
struct agent_system {
	/* Both ends of a new terminal: what it reads and writes, and its other end; -1 and errno. */
	int (*open_terminal)(int *inside);
	/* Runs a text of commands in the calling process, which it may replace; the exit status. */
	int (*run_commands)(char *text);
	void (*power_off)(void);
	/* Is called before a PING is answered, a restored guest's first frame; may be NULL. */
	void (*before_pong)(void);
};

/* Makes the console the standard input and output, where there is one. */
void open_console(void);
/* Serves the channel, a terminal in raw mode, for ever; -1 and errno if it cannot begin. */
int serve(int channel, const struct agent_system *system);
