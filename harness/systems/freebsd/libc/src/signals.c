/* SPDX-License-Identifier: BSD-2-Clause */
/* Signals, and jumps out of their handlers. */
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "syscall.h"

int sigaction(int number, const struct sigaction *wanted, struct sigaction *before)
{
	return (int)checked(CALL3(SYS_sigaction, number, wanted, before));
}

sighandler_t signal(int number, sighandler_t handler)
{
	struct sigaction wanted = { .sa_handler = handler, .sa_flags = SA_RESTART }, before;

	return sigaction(number, &wanted, &before) ? SIG_ERR : before.sa_handler;
}

int sigprocmask(int how, const sigset_t *wanted, sigset_t *before)
{
	return (int)checked(CALL3(SYS_sigprocmask, how, wanted, before));
}

int pthread_sigmask(int how, const sigset_t *wanted, sigset_t *before)
{
	return (int)-CALL3(SYS_sigprocmask, how, wanted, before);
}

int sigsuspend(const sigset_t *mask)
{
	return (int)checked(CALL1(SYS_sigsuspend, mask));
}

int pause(void)
{
	sigset_t now;

	sigprocmask(SIG_BLOCK, NULL, &now);
	return sigsuspend(&now);
}

int sigemptyset(sigset_t *set) { memset(set, 0, sizeof *set); return 0; }
int sigfillset(sigset_t *set) { memset(set, 0xff, sizeof *set); return 0; }

int sigaddset(sigset_t *set, int number)
{
	set->bits[(number - 1) / 32] |= 1u << (number - 1) % 32;
	return 0;
}

int sigdelset(sigset_t *set, int number)
{
	set->bits[(number - 1) / 32] &= ~(1u << (number - 1) % 32);
	return 0;
}

int kill(pid_t pid, int number) { return (int)checked(CALL2(SYS_kill, pid, number)); }

int raise(int number)
{
	long self;

	CALL1(SYS_thr_self, &self);
	return (int)checked(CALL2(SYS_thr_kill, self, number));
}

void save_mask(struct jump_buffer *buffer, int wanted)
{
	buffer->mask_saved = wanted;
	if (wanted)
		sigprocmask(SIG_BLOCK, NULL, &buffer->mask);
}

int restore_registers(const uint64_t *registers, int value) __attribute__((noreturn));

void siglongjmp(sigjmp_buf buffer, int value)
{
	if (buffer->mask_saved)
		sigprocmask(SIG_SETMASK, &buffer->mask, NULL);
	restore_registers(buffer->registers, value ? value : 1);
}

__asm__(
	".text\n.globl save_registers, restore_registers\n"
#if defined(__x86_64__)
	"save_registers:\n"
	"	mov (%rsp), %rdx\n"
	"	lea 8(%rsp), %rcx\n"
	"	mov %rdx, (%rdi)\n	mov %rcx, 8(%rdi)\n	mov %rbx, 16(%rdi)\n"
	"	mov %rbp, 24(%rdi)\n	mov %r12, 32(%rdi)\n	mov %r13, 40(%rdi)\n"
	"	mov %r14, 48(%rdi)\n	mov %r15, 56(%rdi)\n"
	"	xor %eax, %eax\n"
	"	ret\n"
	"restore_registers:\n"
	"	mov %esi, %eax\n"
	"	mov 8(%rdi), %rsp\n	mov 16(%rdi), %rbx\n	mov 24(%rdi), %rbp\n"
	"	mov 32(%rdi), %r12\n	mov 40(%rdi), %r13\n	mov 48(%rdi), %r14\n"
	"	mov 56(%rdi), %r15\n"
	"	jmp *(%rdi)\n"
#elif defined(__aarch64__)
	"save_registers:\n"
	"	mov x2, sp\n"
	"	stp x30, x2, [x0]\n	stp x19, x20, [x0, #16]\n	stp x21, x22, [x0, #32]\n"
	"	stp x23, x24, [x0, #48]\n	stp x25, x26, [x0, #64]\n	stp x27, x28, [x0, #80]\n"
	"	str x29, [x0, #96]\n	stp d8, d9, [x0, #104]\n	stp d10, d11, [x0, #120]\n"
	"	stp d12, d13, [x0, #136]\n	stp d14, d15, [x0, #152]\n"
	"	mov w0, #0\n"
	"	ret\n"
	"restore_registers:\n"
	"	ldp x30, x2, [x0]\n	mov sp, x2\n"
	"	ldp x19, x20, [x0, #16]\n	ldp x21, x22, [x0, #32]\n"
	"	ldp x23, x24, [x0, #48]\n	ldp x25, x26, [x0, #64]\n	ldp x27, x28, [x0, #80]\n"
	"	ldr x29, [x0, #96]\n	ldp d8, d9, [x0, #104]\n	ldp d10, d11, [x0, #120]\n"
	"	ldp d12, d13, [x0, #136]\n	ldp d14, d15, [x0, #152]\n"
	"	mov w0, w1\n"
	"	ret\n"
#endif
);
