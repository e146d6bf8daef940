/* SPDX-License-Identifier: BSD-2-Clause */
/* Jumps out of a signal handler; the signal mask is kept where asked for. */
#pragma once
#include <signal.h>

struct jump_buffer {
	uint64_t registers[24];
	sigset_t mask;
	int mask_saved;
};
typedef struct jump_buffer jmp_buf[1], sigjmp_buf[1];

int save_registers(uint64_t *registers) __attribute__((returns_twice));
void save_mask(struct jump_buffer *buffer, int wanted);
void siglongjmp(sigjmp_buf buffer, int value) __attribute__((noreturn));
#define longjmp siglongjmp
#define sigsetjmp(buffer, mask) (save_mask(buffer, mask), save_registers((buffer)->registers))
#define setjmp(buffer) sigsetjmp(buffer, 1)
