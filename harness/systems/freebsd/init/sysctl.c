/* SPDX-License-Identifier: BSD-2-Clause */
/* sysctl(8) as far as a race needs it: values by name, read and set, and what is below a name. */
#include "sysctl.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysctl.h>

enum { QUERY = 2, NAME_ROOM = 256 };

struct variable {
	int mib[CTL_MAXNAME];
	size_t length;
	uint32_t kind;
};

static int failed(const char *name, const char *what)
{
	dprintf(2, "sysctl: %s: %s%s\n", name, what, strerror(errno));
	return 1;
}

/* Asks the kernel about a variable: its kind and format, its name, the next one. */
static int ask(int question, const struct variable *about, void *answer, size_t *size)
{
	int query[QUERY + CTL_MAXNAME] = { CTL_SYSCTL, question };

	memcpy(query + QUERY, about->mib, about->length * sizeof *about->mib);
	return sysctl(query, QUERY + (u_int)about->length, answer, size, NULL, 0);
}

static int read_kind(struct variable *variable)
{
	char format[NAME_ROOM];
	size_t size = sizeof format;

	if (ask(CTL_SYSCTL_OIDFMT, variable, format, &size))
		return -1;
	memcpy(&variable->kind, format, sizeof variable->kind);
	return 0;
}

static int find(const char *name, struct variable *variable)
{
	variable->length = CTL_MAXNAME;
	return sysctlnametomib(name, variable->mib, &variable->length) || read_kind(variable);
}

static size_t width_of(uint32_t kind)
{
	switch (kind & CTLTYPE) {
	case CTLTYPE_INT: case CTLTYPE_UINT: case CTLTYPE_S32: case CTLTYPE_U32:
		return 4;
	case CTLTYPE_LONG: case CTLTYPE_ULONG: case CTLTYPE_S64: case CTLTYPE_U64:
		return 8;
	case CTLTYPE_S16: case CTLTYPE_U16:
		return 2;
	case CTLTYPE_S8: case CTLTYPE_U8:
		return 1;
	}
	return 0;
}

static int is_signed(uint32_t kind)
{
	switch (kind & CTLTYPE) {
	case CTLTYPE_INT: case CTLTYPE_LONG: case CTLTYPE_S8: case CTLTYPE_S16: case CTLTYPE_S32:
	case CTLTYPE_S64:
		return 1;
	}
	return 0;
}

static void print_numbers(uint32_t kind, const unsigned char *data, size_t size)
{
	size_t width = width_of(kind);

	for (size_t at = 0; at + width <= size; at += width) {
		uint64_t value = 0;
		unsigned unused = 64 - 8 * (unsigned)width;

		memcpy(&value, data + at, width);	/* both architectures are little endian */
		const char *before = at ? " " : "";

		if (is_signed(kind))
			printf("%s%ld", before, (int64_t)(value << unused) >> unused);
		else
			printf("%s%lu", before, value);
	}
}

static int print_variable(const char *name, const struct variable *variable, int with_name)
{
	size_t size = 0;

	if (sysctl(variable->mib, (u_int)variable->length, NULL, &size, NULL, 0))
		return failed(name, "");
	size += size / 4 + 64;		/* it may have grown before it is read */
	char *data = calloc(1, size + 1);

	if (!data || sysctl(variable->mib, (u_int)variable->length, data, &size, NULL, 0)) {
		free(data);
		return failed(name, "");
	}
	if (with_name)
		printf("%s: ", name);
	if ((variable->kind & CTLTYPE) == CTLTYPE_STRING) {
		printf("%s", data);
	} else if (width_of(variable->kind)) {
		print_numbers(variable->kind, (unsigned char *)data, size);
	} else {
		for (size_t i = 0; i < size; i++)
			printf("%02x", (unsigned char)data[i]);
	}
	printf("\n");
	free(data);
	return 0;
}

static int set_variable(const char *name, const struct variable *variable, const char *text)
{
	size_t width = width_of(variable->kind);
	char *end;

	if ((variable->kind & CTLTYPE) == CTLTYPE_STRING) {
		if (sysctl(variable->mib, (u_int)variable->length, NULL, NULL, text,
			   strlen(text) + 1))
			return failed(name, "the kernel rejects this value: ");
		return 0;
	}
	if (!width) {
		dprintf(2, "sysctl: %s: neither a number nor a text\n", name);
		return 1;
	}
	errno = 0;
	uint64_t value = is_signed(variable->kind) ? (uint64_t)strtol(text, &end, 0)
						   : strtoul(text, &end, 0);

	if (errno || end == text || *end) {
		dprintf(2, "sysctl: %s: expected a number, found %s\n", name, text);
		return 1;
	}
	unsigned unused = 64 - 8 * (unsigned)width;
	uint64_t kept = is_signed(variable->kind) ? (uint64_t)((int64_t)(value << unused) >> unused)
						  : value << unused >> unused;

	if (kept != value) {
		dprintf(2, "sysctl: %s: %s does not fit %zu bytes\n", name, text, width);
		return 1;
	}
	if (sysctl(variable->mib, (u_int)variable->length, NULL, NULL, &value, width))
		return failed(name, "the kernel rejects this value: ");
	return 0;
}

/* All leaves below a node, in the kernel's order. */
static int print_tree(const struct variable *root)
{
	struct variable at = *root;
	int status = 0;

	for (;;) {
		struct variable next;
		size_t size = sizeof next.mib;
		char name[NAME_ROOM] = "";
		size_t room = sizeof name - 1;

		if (ask(CTL_SYSCTL_NEXT, &at, next.mib, &size))
			return errno == ENOENT ? status : failed("next", "");
		next.length = size / sizeof *next.mib;
		if (next.length < root->length ||
		    memcmp(next.mib, root->mib, root->length * sizeof *root->mib))
			return status;
		if (ask(CTL_SYSCTL_NAME, &next, name, &room) || read_kind(&next))
			return failed("name", "");
		if (next.kind & CTLFLAG_RD)
			status |= print_variable(name, &next, 1);
		else
			printf("%s\n", name);
		at = next;
	}
}

int run_sysctl(char **words, int count)
{
	struct variable variable;
	int status = 0, bare = 0;

	if (count && !strcmp(words[0], "-n"))
		bare = 1, words++, count--;
	if (!count) {
		dprintf(2, "usage: sysctl [-n] NAME[=VALUE] …\n");
		return 2;
	}
	for (int i = 0; i < count && !status; i++) {
		char *value = strchr(words[i], '=');

		if (value)
			*value++ = 0;
		if (find(words[i], &variable))
			status = failed(words[i], "unknown to this kernel: ");
		else if (value)
			status = set_variable(words[i], &variable, value);
		else if ((variable.kind & CTLTYPE) == CTLTYPE_NODE)
			status = print_tree(&variable);
		else
			status = print_variable(words[i], &variable, !bare);
	}
	return status;
}
