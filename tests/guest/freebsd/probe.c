/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stands in for FreeBSD's kernel: says on COM1 what the shim has handed to it, a line each, and then
 * resets the machine. Linked and entered as the kernel is.
 */
#include <stdint.h>

#define KERNBASE 0xffffffff80000000ul

enum { NAME = 1, TYPE = 2, ADDR = 3, SIZE = 4, SSYM = 0x8003, ESYM = 0x8004, ENVP = 0x8006,
       KERNEND = 0x8008, SMAP = 0x9001 };

__asm__(
	".globl _start\n"
	"_start:\n"
	"	mov %rsp, %rdi\n"
	"	lea stack_top(%rip), %rsp\n"
	"	call probe\n"
	".bss\n"
	"	.align 16\n"
	"	.skip 8192\n"
	"stack_top:\n"
	".text\n"
);

static volatile uint32_t initialised = 0x600dda7a;
static volatile uint32_t zeroed[1000];

static void put(char c)
{
	__asm__ volatile("outb %0, %1" : : "a"(c), "Nd"((uint16_t)0x3f8));
}

static void say(const char *text)
{
	while (*text)
		put(*text++);
}

static void say_number(const char *what, uint64_t n)
{
	say(what);
	put(' ');
	for (int shift = 60; shift >= 0; shift -= 4)
		put("0123456789abcdef"[n >> shift & 15]);
	put('\n');
}

static uint64_t long_at(const void *at)
{
	return *(const uint64_t *)at;
}

__attribute__((used)) void probe(const uint32_t *stack)
{
	const uint8_t *at = (const uint8_t *)(KERNBASE + stack[1]);
	uint64_t cr0, sum = 0;
	int module = 0;

	__asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
	say_number("paging", cr0 >> 31);
	say_number("data", initialised);
	for (int i = 0; i < 1000; i++)
		sum += zeroed[i];
	say_number("bss", sum);
	say_number("kernend", stack[2]);
	for (;;) {
		uint32_t type = *(const uint32_t *)at, size = *(const uint32_t *)(at + 4);
		const uint8_t *data = at + 8;

		if (!type)
			break;
		if (type == NAME)
			module++;
		if (type == NAME || type == TYPE) {
			say(type == NAME ? "name " : "type ");
			say((const char *)data);
			put('\n');
		} else if (type == ADDR || type == SIZE) {
			say_number(type == ADDR ? "addr" : "size", long_at(data));
			if (type == ADDR && module == 2) {
				say("content ");
				for (int i = 0; i < 8; i++)
					put(((const char *)(KERNBASE + long_at(data)))[i]);
				put('\n');
			}
		} else if (type == SSYM) {
			say_number("symbols", long_at((const void *)(KERNBASE + long_at(data))));
		} else if (type == ESYM) {
			say_number("esym", long_at(data));
		} else if (type == KERNEND) {
			say_number("told", long_at(data));
		} else if (type == SMAP) {
			uint64_t usable = 0;

			for (uint32_t i = 0; i + 20 <= size; i += 20)
				if (*(const uint32_t *)(data + i + 16) == 1)
					usable += long_at(data + i + 8);
			say_number("memory", usable);
		} else if (type == ENVP) {
			const char *entry = (const char *)(KERNBASE + long_at(data));

			while (*entry) {
				say("env ");
				say(entry);
				put('\n');
				while (*entry++)
					;
			}
		}
		at += 8 + ((size + 7) & ~7u);
	}
	say("end\n");
	__asm__ volatile("lidt %0; int3" : : "m"((struct { uint16_t n; uint64_t a; } __attribute__((packed))){ 0, 0 }));
	for (;;)
		;
}
