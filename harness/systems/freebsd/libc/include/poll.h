/* SPDX-License-Identifier: BSD-2-Clause */
/* poll(2). */
#pragma once
typedef unsigned int nfds_t;
struct pollfd {
	int fd;
	short events, revents;
};

#define POLLIN 0x1
#define POLLOUT 0x4
#define POLLERR 0x8
#define POLLHUP 0x10
#define POLLNVAL 0x20

int poll(struct pollfd *fds, nfds_t n, int milliseconds);
