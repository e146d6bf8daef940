/* SPDX-License-Identifier: BSD-2-Clause */
/* Terminals: the layout and the flags that raw mode needs (sys/sys/_termios.h). */
#pragma once
#include <sys/ioctl.h>

struct termios {
	uint32_t c_iflag, c_oflag, c_cflag, c_lflag;
	uint8_t c_cc[20];
	uint32_t c_ispeed, c_ospeed;
};

#define VMIN 16
#define VTIME 17
#define CSIZE 0x300
#define CS8 0x300
#define CREAD 0x800
#define CLOCAL 0x8000
#define TIOCGETA _IOR('t', 19, struct termios)
#define TIOCSETA _IOW('t', 20, struct termios)

int tcgetattr(int fd, struct termios *settings);
int tcsetattr(int fd, int when, const struct termios *settings);
int tcdrain(int fd);
#define TCSANOW 0
