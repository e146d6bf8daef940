/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * malloc: powers of two up to 32 KiB from free lists, each filled from 64 KiB of mmap(2); larger ones
 * are maps of their own. Before each block is its size; blocks are 16-byte aligned.
 */
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "syscall.h"

struct block {
	size_t size;		/* with this head: of the list it belongs to, or of the map */
	struct block *next;
};

enum { HEAD = 16, SMALLEST = 5, LARGEST = 15, CHUNK = 65536, PAGE_BYTES = 4096 };

static struct block *free_blocks[LARGEST + 1];
static atomic_flag lock = ATOMIC_FLAG_INIT;

static void enter(void)
{
	while (atomic_flag_test_and_set_explicit(&lock, memory_order_acquire))
		CALL0(SYS_sched_yield);
}

static void leave(void)
{
	atomic_flag_clear_explicit(&lock, memory_order_release);
}

static void *map(size_t n)
{
	return mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
}

static int list_of(size_t size)
{
	int list = SMALLEST;

	while ((size_t)1 << list < size)
		list++;
	return list;
}

void *malloc(size_t n)
{
	size_t size = n + HEAD;
	struct block *block;

	if (size < n) {
		errno = ENOMEM;
		return NULL;
	}
	if (size > (size_t)1 << LARGEST) {
		size = (size + PAGE_BYTES - 1) & ~(size_t)(PAGE_BYTES - 1);
		block = map(size);
		if (block == MAP_FAILED)
			return NULL;
		block->size = size;
		return (char *)block + HEAD;
	}
	int list = list_of(size);

	enter();
	if (!free_blocks[list]) {
		char *chunk = map(CHUNK);

		for (size_t at = 0; (void *)chunk != MAP_FAILED && at < CHUNK; at += (size_t)1 << list) {
			block = (struct block *)(chunk + at);
			*block = (struct block){ (size_t)1 << list, free_blocks[list] };
			free_blocks[list] = block;
		}
	}
	block = free_blocks[list];
	if (block)
		free_blocks[list] = block->next;
	leave();
	return block ? (char *)block + HEAD : NULL;
}

void free(void *memory)
{
	if (!memory)
		return;
	struct block *block = (struct block *)((char *)memory - HEAD);

	if (block->size > (size_t)1 << LARGEST) {
		size_t offset = (size_t)block & (PAGE_BYTES - 1);

		munmap((char *)block - offset, block->size + offset);
		return;
	}
	int list = list_of(block->size);

	enter();
	block->next = free_blocks[list];
	free_blocks[list] = block;
	leave();
}

void *calloc(size_t count, size_t n)
{
	size_t all;

	if (__builtin_mul_overflow(count, n, &all)) {
		errno = ENOMEM;
		return NULL;
	}
	void *memory = malloc(all);

	return memory ? memset(memory, 0, all) : NULL;
}

void *realloc(void *old, size_t n)
{
	void *memory = malloc(n);

	if (memory && old) {
		size_t had = ((struct block *)((char *)old - HEAD))->size - HEAD;

		memcpy(memory, old, had < n ? had : n);
		free(old);
	}
	return memory;
}

/*
 * A block whose head lies inside a map that is large enough: free() then gives back the map's end,
 * from the page of the head on, and the pages before it stay.
 */
void *aligned_alloc(size_t alignment, size_t n)
{
	size_t page = PAGE_BYTES, align = alignment < page ? page : alignment;
	size_t size = (n + page - 1) & ~(page - 1);

	if (alignment <= HEAD)
		return malloc(n);
	if (size < (size_t)1 << LARGEST)
		size = (size_t)1 << LARGEST;
	char *memory = map(size + page + align);

	if ((void *)memory == MAP_FAILED)
		return NULL;
	char *at = (char *)(((size_t)memory + page + align - 1) & ~(align - 1));

	((struct block *)(at - HEAD))->size = size + HEAD;
	return at;
}

int posix_memalign(void **out, size_t alignment, size_t n)
{
	*out = aligned_alloc(alignment, n);
	return *out ? 0 : ENOMEM;
}
