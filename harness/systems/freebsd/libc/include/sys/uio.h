/* SPDX-License-Identifier: BSD-2-Clause */
/* One piece of a list of buffers. */
#pragma once
#include <sys/types.h>

struct iovec {
	void *iov_base;
	size_t iov_len;
};
