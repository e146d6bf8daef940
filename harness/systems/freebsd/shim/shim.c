/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stands in for FreeBSD's loader on amd64: QEMU starts it as a multiboot kernel (-kernel), with the
 * kernel's ELF file and the root's image as modules (-initrd "kernel,root"), and it does what
 * stand/i386/libi386/bootinfo64.c and stand/common/load_elf.c do:
 *
 *   - copies the kernel's segments to where they are linked, less KERNBASE;
 *   - behind them, page by page: symbols and their names, each with its size before it; the root's
 *     image; the kernel's environment; the metadata that tells of all that (sys/sys/linker.h);
 *   - maps every gigabyte to the first one, as the kernel's first page tables are;
 *   - jumps to the kernel's entry in 64-bit mode.
 *
 * The command line is `-- NAME=VALUE …`: what is before the `--` is QEMU's, and each word behind it
 * is an entry of the kernel's environment (kenv(1), loader.conf(5)).
 */
#include <stddef.h>
#include <stdint.h>

void enter(uint32_t page_table, uint32_t entry_low, uint32_t entry_high, uint32_t modulep,
	   uint32_t kernel_end) __attribute__((noreturn));
void give_up(void) __attribute__((noreturn));

extern char shim_begin[];

enum {
	PAGE = 4096,
	KERNEL_START = 0x200000,	/* sys/amd64/include/vmparam.h, KERNLOAD */
	MAPPED = 0x7fffffff,		/* an address less KERNBASE, 0xffffffff80000000 */
	ROOM = 16 << 20,		/* the kernel's own first pages come behind kernel_end */
	HANDED = 0x2BADB002,		/* %eax of a multiboot loader */
	HAS_COMMAND_LINE = 1 << 2, HAS_MODULES = 1 << 3, HAS_MEMORY_MAP = 1 << 6,
	COM1 = 0x3f8, LINE_STATUS = 5, TRANSMITTER_EMPTY = 0x20,
};

/* sys/sys/linker.h and sys/x86/include/metadata.h */
enum {
	MODINFO_END = 0, MODINFO_NAME = 1, MODINFO_TYPE = 2, MODINFO_ADDR = 3, MODINFO_SIZE = 4,
	MODINFO_METADATA = 0x8000,
	ELFHDR = MODINFO_METADATA | 2, SSYM = MODINFO_METADATA | 3, ESYM = MODINFO_METADATA | 4,
	ENVP = MODINFO_METADATA | 6, HOWTO = MODINFO_METADATA | 7, KERNEND = MODINFO_METADATA | 8,
	SMAP = MODINFO_METADATA | 0x1001,
};

struct multiboot {
	uint32_t flags, memory_low, memory_high, boot_device, command_line, modules, module_list;
	uint32_t symbols[4], map_size, map;
};
struct module {
	uint32_t begin, end, text, reserved;
};
struct range {			/* of physical memory; `size` counts what follows it */
	uint32_t size;
	uint8_t smap[20];	/* base, length, type: as the BIOS gives them and the kernel wants */
} __attribute__((packed));
struct elf {
	uint8_t id[16];
	uint16_t type, machine;
	uint32_t version;
	uint64_t entry, segments, sections;
	uint32_t flags;
	uint16_t size, segment_size, segment_count, section_size, section_count, names;
};
struct segment {
	uint32_t type, flags;
	uint64_t offset, address, physical, file_size, memory_size, align;
};
struct section {
	uint32_t name, type;
	uint64_t flags, address, offset, size;
	uint32_t link, info;
	uint64_t align, entry_size;
};
enum { LOADED_SEGMENT = 1, SYMBOL_TABLE = 2, EXECUTABLE = 2, X86_64 = 62 };

static uint64_t page_table[512] __attribute__((aligned(4096)));
static uint64_t gigabytes[512] __attribute__((aligned(4096)));
static uint64_t pages_of_2_mib[512] __attribute__((aligned(4096)));
static uint8_t *metadata;

static void put_byte(char c)
{
	uint8_t status;

	do
		__asm__ volatile("inb %1, %0" : "=a"(status) : "Nd"((uint16_t)(COM1 + LINE_STATUS)));
	while (!(status & TRANSMITTER_EMPTY));
	__asm__ volatile("outb %0, %1" : : "a"(c), "Nd"((uint16_t)COM1));
}

static void put_text(const char *text)
{
	while (*text)
		put_byte(*text++);
}

static void fail(const char *why) __attribute__((noreturn));
static void fail(const char *why)
{
	put_text("harness shim: ");
	put_text(why);
	put_text("\r\n");
	give_up();
}

/* The compiler calls these, too. */
void *memcpy(void *to, const void *from, size_t n)
{
	void *start = to;

	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
	return start;
}

void *memset(void *at, int value, size_t n)
{
	void *start = at;

	__asm__ volatile("rep stosb" : "+D"(at), "+c"(n) : "a"(value) : "memory");
	return start;
}

static int starts_with(const char *text, const char *start)
{
	while (*start && *text == *start)
		text++, start++;
	return !*start;
}

static uint32_t up(uint32_t n, uint32_t to)
{
	return (n + to - 1) & ~(to - 1);
}

/* Nothing may be put where the shim itself is, or what QEMU has put behind it. */
static void *claim(uint32_t at, uint64_t size)
{
	uint32_t limit = (uint32_t)shim_begin - ROOM;

	if (at < KERNEL_START || at > limit || size > limit - at)
		fail("kernel, symbols and root need more than 110 MiB");
	return (void *)at;
}

/* The kernel's segments, where they are linked; returns their end. */
static uint32_t place_segments(const struct elf *elf, const uint8_t *file)
{
	uint32_t end = 0;

	for (int i = 0; i < elf->segment_count; i++) {
		const struct segment *s =
			(const void *)(file + (uint32_t)elf->segments + i * elf->segment_size);
		uint32_t at = (uint32_t)s->address & MAPPED;

		if (s->type != LOADED_SEGMENT)
			continue;
		memcpy(claim(at, s->memory_size), file + (uint32_t)s->offset, (uint32_t)s->file_size);
		memset((void *)(at + (uint32_t)s->file_size), 0,
		       (uint32_t)(s->memory_size - s->file_size));
		if (at + (uint32_t)s->memory_size > end)
			end = at + (uint32_t)s->memory_size;
	}
	return end;
}

static uint32_t place_sized(uint32_t at, const uint8_t *data, uint64_t size)
{
	claim(at, size + sizeof size);
	memcpy((void *)at, &size, sizeof size);
	memcpy((void *)(at + (uint32_t)sizeof size), data, (uint32_t)size);
	return up(at + (uint32_t)(sizeof size + size), 8);
}

/* Symbols and their names (sys/ddb/db_main.c, db_fetch_ksymtab()); returns their end, `at` if none. */
static uint32_t place_symbols(const struct elf *elf, const uint8_t *file, uint32_t at)
{
	const struct section *sections = (const void *)(file + (uint32_t)elf->sections);

	for (int i = 0; i < elf->section_count; i++) {
		const struct section *symbols = &sections[i];

		if (symbols->type == SYMBOL_TABLE) {
			const struct section *names = &sections[symbols->link];

			at = place_sized(at, file + (uint32_t)symbols->offset, symbols->size);
			return place_sized(at, file + (uint32_t)names->offset, names->size);
		}
	}
	return at;
}

/* NAME=VALUE words behind `--`, each with an end, and one more end; returns the end of all. */
static uint32_t place_environment(const char *line, uint32_t at)
{
	char *to = claim(at, 64 * PAGE);
	const char *limit = to + 64 * PAGE - 2;

	while (*line && !starts_with(line, " -- "))
		line++;
	for (line += *line ? 4 : 0; *line && to < limit; ) {
		while (*line == ' ')
			line++;
		if (!*line)
			break;
		while (*line && *line != ' ' && to < limit)
			*to++ = *line++;
		*to++ = 0;
	}
	*to++ = 0;
	*to++ = 0;
	return (uint32_t)to;
}

static void add(uint32_t type, const void *data, uint32_t size)
{
	memcpy(metadata, &type, sizeof type);
	memcpy(metadata + 4, &size, sizeof size);
	memcpy(metadata + 8, data, size);
	metadata += 8 + up(size, 8);
}

static void add_address(uint32_t type, uint64_t value)
{
	add(type, &value, sizeof value);
}

/* Physical memory as the BIOS tells it; multiboot puts a size before each range. */
static void add_memory_map(const struct multiboot *info)
{
	static uint8_t smap[64 * sizeof((struct range *)0)->smap];
	uint32_t n = 0;

	for (uint32_t at = info->map; at < info->map + info->map_size; ) {
		const struct range *range = (const void *)at;

		if (n + sizeof range->smap > sizeof smap)
			fail("more than 64 ranges of memory");
		memcpy(smap + n, range->smap, sizeof range->smap);
		n += sizeof range->smap;
		at += range->size + sizeof range->size;
	}
	add(SMAP, smap, n);
}

static void map_memory(void)
{
	for (int i = 0; i < 512; i++) {
		page_table[i] = (uint32_t)gigabytes | 3;		/* present, writable */
		gigabytes[i] = (uint32_t)pages_of_2_mib | 3;
		pages_of_2_mib[i] = (uint64_t)i << 21 | 0x83;		/* and a page of its own */
	}
}

void prepare(uint32_t magic, const struct multiboot *info) __attribute__((noreturn));
void prepare(uint32_t magic, const struct multiboot *info)
{
	const uint32_t needed = HAS_COMMAND_LINE | HAS_MODULES | HAS_MEMORY_MAP;

	if (magic != HANDED || (info->flags & needed) != needed)
		fail("not started by a multiboot loader that gives modules and a memory map");
	if (info->modules < 1)
		fail("no kernel: expected -initrd kernel,root");
	const struct module *modules = (const void *)info->module_list;
	const uint8_t *file = (const void *)modules[0].begin;
	const struct elf *elf = (const void *)file;

	if (!starts_with((const char *)elf->id, "\177ELF\2\1") || elf->machine != X86_64 ||
	    elf->type != EXECUTABLE)
		fail("the kernel is no ELF program for amd64");
	uint32_t end = up(place_segments(elf, file), PAGE);
	uint32_t symbols_end = place_symbols(elf, file, end);
	uint32_t root = up(symbols_end, PAGE), root_size = 0;

	if (info->modules > 1) {
		root_size = modules[1].end - modules[1].begin;
		memcpy(claim(root, root_size), (const void *)modules[1].begin, root_size);
	}
	uint32_t environment = up(root + root_size, PAGE);
	uint32_t modulep = up(place_environment((const char *)info->command_line, environment), PAGE);
	uint32_t kernel_end = modulep + PAGE;
	uint32_t howto = 0;		/* the environment's boot_… words say it */

	metadata = claim(modulep, PAGE);
	add(MODINFO_NAME, "kernel", sizeof "kernel");
	add(MODINFO_TYPE, "elf kernel", sizeof "elf kernel");
	add_address(MODINFO_ADDR, KERNEL_START);
	add_address(MODINFO_SIZE, end - KERNEL_START);
	add(HOWTO, &howto, sizeof howto);
	add_address(ENVP, environment);
	add_address(KERNEND, kernel_end);
	if (symbols_end != end) {
		add_address(SSYM, end);
		add_address(ESYM, symbols_end);
	}
	add(ELFHDR, elf, sizeof *elf);
	add_memory_map(info);
	if (root_size) {
		add(MODINFO_NAME, "root", sizeof "root");
		add(MODINFO_TYPE, "mfs_root", sizeof "mfs_root");
		add_address(MODINFO_ADDR, root);
		add_address(MODINFO_SIZE, root_size);
	}
	add(MODINFO_END, NULL, 0);
	map_memory();
	enter((uint32_t)page_table, (uint32_t)elf->entry, (uint32_t)(elf->entry >> 32), modulep,
	      kernel_end);
}
