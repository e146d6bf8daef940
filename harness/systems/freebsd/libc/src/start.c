/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The beginning and the end of a program. The kernel enters it with a pointer to the arguments: their
 * number, the arguments, NULL, the environment, NULL (sys/amd64/amd64/exec_machdep.c, and arm64's).
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "syscall.h"

__asm__(
	".globl _start\n"
	"_start:\n"
#if defined(__x86_64__)
	"	xor %ebp, %ebp\n"
	"	and $-16, %rsp\n"
	"	call start_program\n"
#elif defined(__aarch64__)
	"	mov x29, #0\n"
	"	mov x30, #0\n"
	"	bl start_program\n"
#endif
);

/*
 * The release that the program is made for, __FreeBSD_version of 13.2: without it, the kernel treats
 * it as one of the nineties (p_osrel in sys/kern/imgact_elf.c; lib/csu/common/crtbrand.S). Release 15
 * does not look at the last note of a program: behind it, as in every program there, are its features
 * (lib/csu/common/feature_note.S), none.
 */
__asm__(
	".section .note.tag, \"a\", %note\n"
	"	.p2align 2\n"
	"	.long 8, 4, 1\n"	/* lengths of name and content; NT_FREEBSD_ABI_TAG */
	"	.asciz \"FreeBSD\"\n"
	"	.long 1302001\n"
	"	.long 8, 4, 4\n"	/* NT_FREEBSD_FEATURE_CTL */
	"	.asciz \"FreeBSD\"\n"
	"	.long 0\n"
	".text\n"
);

int main(int argc, char **argv, char **env);

char **environ;
static void (*at_exit[32])(void);
static int at_exit_count;

__attribute__((used)) static void start_program(long *arguments)
{
	int argc = (int)arguments[0];
	char **argv = (char **)(arguments + 1);
	/* the environment's end is not needed: what follows it is the kernel's */
	void *memory = (void *)CALL6(SYS_mmap, 0, thread_memory_size(), PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANON, -1, 0);

	set_thread_memory(make_thread_memory(memory, NULL));
	environ = argv + argc + 1;
	exit(main(argc, argv, environ));
}

int atexit(void (*function)(void))
{
	if (at_exit_count == sizeof at_exit / sizeof at_exit[0])
		return -1;
	at_exit[at_exit_count++] = function;
	return 0;
}

void exit(int status)
{
	while (at_exit_count)
		at_exit[--at_exit_count]();
	_exit(status);
}

void _exit(int status)
{
	for (;;)
		CALL1(SYS_exit, status);
}

void _Exit(int status)
{
	_exit(status);
}
