/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Variables of one thread (__thread) in a static program: the layouts of "ELF Handling For
 * Thread-Local Storage" (Drepper, 2005, section 3): on amd64 (variant II) they end where the thread
 * pointer points to, and a pointer to itself is there; on arm64 (variant I) they follow 16 bytes.
 */
#include <elf.h>
#include <string.h>

#include "syscall.h"

extern const Elf64_Ehdr __ehdr_start __attribute__((visibility("hidden")));

enum { HEAD = 16, AMD64_SET_FSBASE = 129 };

static const Elf64_Phdr *template(void)
{
	const Elf64_Phdr *segment = (const void *)((const char *)&__ehdr_start + __ehdr_start.e_phoff);

	for (int i = 0; i < __ehdr_start.e_phnum; i++)
		if (segment[i].p_type == PT_TLS)
			return &segment[i];
	return NULL;
}

static size_t up(size_t n, size_t to)
{
	return (n + to - 1) & ~(to - 1);
}

static size_t alignment(const Elf64_Phdr *segment)
{
	return segment && segment->p_align > HEAD ? segment->p_align : HEAD;
}

/* How much memory `make_thread_memory` wants. */
size_t thread_memory_size(void)
{
	const Elf64_Phdr *segment = template();

	return up(segment ? segment->p_memsz : 0, alignment(segment)) + HEAD + 2 * alignment(segment);
}

/* Lays out one thread's variables in zeroed memory; returns its thread pointer. `self` is kept. */
void *make_thread_memory(void *at, void *self)
{
	const Elf64_Phdr *segment = template();
	size_t align = alignment(segment);
	char *pointer = (char *)up((size_t)at, align), *variables;

#if defined(__x86_64__)
	/* the linker counts back from the pointer by the size as the segment's own alignment makes it */
	size_t size = segment ? up(segment->p_memsz, segment->p_align) : 0;

	pointer += up(size, align);
	variables = pointer - size;
	((void **)pointer)[0] = pointer;
	((void **)pointer)[1] = self;
#else
	variables = pointer + up(HEAD, align);
	((void **)pointer)[1] = self;
#endif
	if (segment)
		memcpy(variables, (const void *)segment->p_vaddr, segment->p_filesz);
	return pointer;
}

/* Makes it the calling thread's. */
void set_thread_memory(void *pointer)
{
#if defined(__x86_64__)
	CALL2(SYS_sysarch, AMD64_SET_FSBASE, &pointer);
#else
	__asm__ volatile("msr tpidr_el0, %0" : : "r"(pointer));
#endif
}
