/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Multiboot shim: lets QEMU boot a GNU Mach kernel by itself, without a boot loader's disk image.
 *
 * QEMU's own multiboot loader refuses 64-bit ELF kernels, and does not tell 32-bit ones of the section
 * headers that some of them need (below). So QEMU loads this program, high in memory, with two modules,
 * the kernel's ELF file and the bootstrap program; the shim places the kernel where it was linked
 * to, behind it everything else as a boot loader would, and jumps to its entry. 32-bit code serves
 * both: a 64-bit GNU Mach is entered in protected mode, too.
 *
 * Sources: Multiboot Specification 0.6.96; ELF gABI; QEMU, hw/i386/multiboot.c.
 */
#include <stdint.h>

#define MULTIBOOT_HEADER 0x1badb002u
#define MULTIBOOT_LOADED 0x2badb002u
#define WANTED_FLAGS 3u		/* modules on page boundaries, memory information */

/*
 * Since e37594f2 (February 2024) the kernel keeps the first page above 64 KiB for the code that
 * starts its other processors, and yet frees it for use, where an assertion may fail
 * (biosmem_free_usable_range()). It does not free what a boot loader leaves for good in that page,
 * which of GRUB's are the section headers: so they are put there, behind that code.
 */
enum { FIRST_PAGE = 0x10000, FIRST_PAGE_USED = 0x800 };

enum { HAS_MEMORY = 1, HAS_CMDLINE = 4, HAS_MODULES = 8, HAS_SECTIONS = 32, HAS_MAP = 64 };

struct information {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr;
	uint32_t section_count, section_size, section_addr, section_names, map_length, map_addr;
	uint32_t rest[9];
};

struct module {
	uint32_t start, end, string, reserved;
};

/* The kernel substitutes the ports' names and starts the task (its kern/boot_script.c). */
static const char bootstrap_line[] =
	"bootstrap ${host-port} ${device-port} $(task-create) $(task-resume)";

extern char shim_start[], shim_end[];

__asm__(
	".section .head,\"ax\"\n"
	".balign 4\n"
	".long 0x1badb002, 3, -(0x1badb002 + 3)\n"
	".globl shim_entry\n"
	"shim_entry:\n"
	"	cli\n"
	"	mov $shim_stack + 16384, %esp\n"
	"	push %ebx\n"
	"	push %eax\n"
	"	call shim_main\n"
	"1:	hlt\n"
	"	jmp 1b\n"
	".text\n"
);
char shim_stack[16384] __attribute__((used, aligned(16)));

static void out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static uint8_t in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static void say(const char *text)
{
	for (; *text; text++) {
		while (!(in8(0x3fd) & 0x20))
			;
		out8(0x3f8, (uint8_t)*text);
	}
}

static void say_hex(uint32_t value)
{
	char digits[11] = "0x";

	for (int i = 0; i < 8; i++)
		digits[2 + i] = "0123456789abcdef"[value >> (28 - 4 * i) & 15];
	say(digits);
}

__attribute__((noreturn)) static void give_up(const char *why, uint32_t value)
{
	say("shim: ");
	say(why);
	say(" (");
	say_hex(value);
	say(")\n");
	for (;;)
		__asm__ volatile("cli; hlt");
}

static void copy(uint32_t to, uint32_t from, uint32_t n)
{
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}

static void clear(uint32_t at, uint32_t n)
{
	__asm__ volatile("rep stosb" : "+D"(at), "+c"(n) : "a"(0) : "memory");
}

static uint32_t length(const char *text)
{
	uint32_t n = 0;

	while (text[n])
		n++;
	return n;
}

static uint32_t page_up(uint32_t address)
{
	return (address + 4095) & ~4095u;
}

/* Fields of an ELF file of either class; addresses above 4 GiB are refused by who asks. */
static uint32_t file, wide, limit;

static uint32_t field(uint32_t at, uint32_t narrow, uint32_t broad, uint32_t size)
{
	uint32_t value = 0;

	copy((uint32_t)&value, at + (wide ? broad : narrow), size);
	return value;
}

static uint32_t next;	/* the first free byte behind what has been placed */

/* Keeps the kernel's own memory apart from the shim and what QEMU loaded behind it. */
static void claim(uint32_t from, uint32_t to)
{
	if (to < from || to > (uint32_t)shim_start)
		give_up("the kernel or its module is too large for the room below the shim", to);
	if (to > limit)
		give_up("the guest has too little memory", to);
}

static uint32_t place(uint32_t from, uint32_t n)
{
	uint32_t at = next;

	claim(at, at + n);
	copy(at, from, n);
	next = (at + n + 15) & ~15u;
	return at;
}

/* Returns the physical address of the entry, which an i686 kernel gives as a virtual one. */
static uint32_t load_segments(void)
{
	uint32_t entry = field(file, 24, 24, 4), found = 0;
	uint32_t header = file + field(file, 28, 32, 4);
	uint32_t size = field(file, 42, 54, 2), count = field(file, 44, 56, 2);

	for (uint32_t i = 0; i < count; i++, header += size) {
		uint32_t offset = field(header, 4, 8, 4), to = field(header, 12, 24, 4);
		uint32_t linked = field(header, 8, 16, 4);
		uint32_t in_file = field(header, 16, 32, 4), in_memory = field(header, 20, 40, 4);

		if (field(header, 0, 0, 4) != 1)	/* PT_LOAD */
			continue;
		if (to < 0x100000 || in_memory < in_file)
			give_up("a segment of the kernel cannot be loaded", to);
		claim(to, to + in_memory);
		copy(to, file + offset, in_file);
		clear(to + in_file, in_memory - in_file);
		if (entry >= linked && entry - linked < in_file)
			found = to + (entry - linked);
		if (page_up(to + in_memory) > next)
			next = page_up(to + in_memory);
	}
	if (!next)
		give_up("the kernel has nothing to load", count);
	if (!found)
		give_up("the kernel's entry is in no segment of it", entry);
	return found;
}

/* The section headers and the symbols, for the kernel's debugger; section 0 is the null section. */
static void place_symbols(struct information *to)
{
	uint32_t size = field(file, 46, 58, 2), count = field(file, 48, 60, 2);
	uint32_t headers = file + field(file, 32, 40, 4), copied;

	if (!count || headers == file)
		return;
	copied = FIRST_PAGE + FIRST_PAGE_USED;
	copy(copied, headers, size * count);
	for (uint32_t i = 1; i < count; i++) {
		uint32_t section = copied + i * size, type = field(section, 4, 4, 4), address = 0;
		uint32_t flags = field(section, 8, 8, 4);

		if (flags & 2)				/* SHF_ALLOC: loaded with its segment */
			continue;
		if (type == 2 || type == 3) {		/* SHT_SYMTAB, SHT_STRTAB */
			next = page_up(next);
			address = place(file + field(section, 16, 24, 4), field(section, 20, 32, 4));
		}
		if (wide)
			clear(section + 16, 8);
		copy(section + (wide ? 16 : 12), (uint32_t)&address, 4);
	}
	to->flags |= HAS_SECTIONS;
	to->section_count = count;
	to->section_size = size;
	to->section_addr = copied;
	to->section_names = field(file, 50, 62, 2);
	next = page_up(next);
}

__attribute__((used)) void shim_main(uint32_t magic, const struct information *given)
{
	const struct module *loaded = (const struct module *)given->mods_addr;
	struct information made = { 0 };
	struct module bootstrap = { 0 };
	uint32_t entry, map, at;

	if (magic != MULTIBOOT_LOADED)
		give_up("not started by a multiboot loader", magic);
	if (!(given->flags & HAS_MODULES) || given->mods_count != 2)
		give_up("wants two modules, the kernel and the bootstrap program", given->mods_count);
	if (!(given->flags & HAS_MEMORY))
		give_up("the loader does not tell the memory's size", given->flags);
	limit = 0x100000 + given->mem_upper * 1024;
	file = loaded[0].start;
	if (*(const uint32_t *)file != 0x464c457f)
		give_up("the kernel is no ELF file", *(const uint32_t *)file);
	wide = ((const uint8_t *)file)[4] == 2;
	entry = load_segments();

	made.flags = HAS_MEMORY | HAS_CMDLINE | HAS_MODULES;
	made.mem_lower = given->mem_lower;
	made.mem_upper = given->mem_upper;
	next = page_up(next);
	bootstrap.start = place(loaded[1].start, loaded[1].end - loaded[1].start);
	bootstrap.end = bootstrap.start + (loaded[1].end - loaded[1].start);
	next = page_up(next);
	place_symbols(&made);
	bootstrap.string = place((uint32_t)bootstrap_line, sizeof bootstrap_line);
	made.cmdline = place(given->cmdline, length((const char *)given->cmdline) + 1);
	made.mods_count = 1;
	made.mods_addr = place((uint32_t)&bootstrap, sizeof bootstrap);
	if (given->flags & HAS_MAP) {
		map = place(given->map_addr, given->map_length);
		made.flags |= HAS_MAP;
		made.map_addr = map;
		made.map_length = given->map_length;
	}
	at = place((uint32_t)&made, sizeof made);
	__asm__ volatile("jmp *%2" : : "a"(MULTIBOOT_LOADED), "b"(at), "r"(entry) : "memory");
	__builtin_unreachable();
}
