/* SPDX-License-Identifier: BSD-2-Clause */
/* ioctl(2) and the requests that terminals know (sys/sys/ttycom.h). */
#pragma once
#include <sys/types.h>

#define IOC_REQUEST(direction, group, number, size) \
	((unsigned long)(direction) | (size) << 16 | (group) << 8 | (number))
#define _IO(group, number) IOC_REQUEST(0x20000000u, group, number, 0u)
#define _IOR(group, number, type) IOC_REQUEST(0x40000000u, group, number, sizeof(type))
#define _IOW(group, number, type) IOC_REQUEST(0x80000000u, group, number, sizeof(type))
#define _IOWR(group, number, type) IOC_REQUEST(0xc0000000u, group, number, sizeof(type))

struct winsize {
	unsigned short ws_row, ws_col, ws_xpixel, ws_ypixel;
};

#define TIOCDRAIN _IO('t', 94)
#define TIOCSCTTY _IO('t', 97)
#define TIOCSWINSZ _IOW('t', 103, struct winsize)
#define TIOCPTMASTER _IO('t', 28)

int ioctl(int fd, unsigned long request, ...);
