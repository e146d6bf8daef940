/* SPDX-License-Identifier: BSD-2-Clause */
/* Numbers from text, sorting, and the rest of <stdlib.h>. */
#include <assert.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "syscall.h"

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= ' ';
	return c >= 'a' && c <= 'z' ? c - 'a' + 10 : 99;
}

/* The magnitude, and whether there is a minus; *end is `text` where there is no number. */
static unsigned long parse(const char *text, char **end, int base, int *minus, int *too_large)
{
	const char *at = text;
	unsigned long value = 0;
	int any = 0;

	*minus = *too_large = 0;
	while (*at == ' ' || (*at >= '\t' && *at <= '\r'))
		at++;
	if (*at == '+' || *at == '-')
		*minus = *at++ == '-';
	if ((base == 0 || base == 16) && at[0] == '0' && (at[1] | ' ') == 'x' && digit(at[2]) < 16)
		at += 2, base = 16;
	if (base == 0)
		base = *at == '0' ? 8 : 10;
	for (; digit(*at) < base; at++, any = 1) {
		unsigned long next;

		*too_large |= __builtin_mul_overflow(value, (unsigned long)base, &next);
		*too_large |= __builtin_add_overflow(next, (unsigned long)digit(*at), &value);
	}
	if (end)
		*end = (char *)(any ? at : text);
	return value;
}

unsigned long strtoul(const char *text, char **end, int base)
{
	int minus, too_large;
	unsigned long value = parse(text, end, base, &minus, &too_large);

	if (too_large) {
		errno = ERANGE;
		return ULONG_MAX;
	}
	return minus ? -value : value;
}

long strtol(const char *text, char **end, int base)
{
	int minus, too_large;
	unsigned long value = parse(text, end, base, &minus, &too_large);

	if (too_large || value > (unsigned long)LONG_MAX + (unsigned long)minus) {
		errno = ERANGE;
		return minus ? LONG_MIN : LONG_MAX;
	}
	return (long)(minus ? -value : value);
}

/* Decimal digits with a point; no exponent. */
double strtod(const char *text, char **end)
{
	char *at;
	int minus, too_large;
	double value = (double)parse(text, &at, 10, &minus, &too_large), unit = 1;

	if (*at == '.')
		for (at++; digit(*at) < 10; at++)
			value += digit(*at) * (unit /= 10);
	if (end)
		*end = at;
	return minus ? -value : value;
}

long long strtoll(const char *text, char **end, int base) { return strtol(text, end, base); }

unsigned long long strtoull(const char *text, char **end, int base)
{
	return strtoul(text, end, base);
}

int atoi(const char *text) { return (int)strtol(text, NULL, 10); }
long atol(const char *text) { return strtol(text, NULL, 10); }
double atof(const char *text) { return strtod(text, NULL); }
int abs(int n) { return n < 0 ? -n : n; }
long labs(long n) { return n < 0 ? -n : n; }

char *getenv(const char *name)
{
	size_t n = strlen(name);

	for (char **at = environ; at && *at; at++)
		if (!strncmp(*at, name, n) && (*at)[n] == '=')
			return *at + n + 1;
	return NULL;
}

void abort(void)
{
	signal(SIGABRT, SIG_DFL);
	raise(SIGABRT);
	_exit(127);
}

void assertion_failed(const char *claim, const char *file, int line)
{
	dprintf(2, "%s:%d: assertion failed: %s\n", file, line, claim);
	abort();
}

static void swap(char *a, char *b, size_t n)
{
	while (n--) {
		char c = *a;

		*a++ = *b;
		*b++ = c;
	}
}

static void sift(char *base, size_t root, size_t count, size_t size,
		 int (*compare)(const void *, const void *))
{
	for (size_t child; (child = 2 * root + 1) < count; root = child) {
		if (child + 1 < count && compare(base + child * size, base + (child + 1) * size) < 0)
			child++;
		if (compare(base + root * size, base + child * size) >= 0)
			return;
		swap(base + root * size, base + child * size, size);
	}
}

/* Heap sort: no recursion, no memory. */
void qsort(void *base, size_t count, size_t size, int (*compare)(const void *, const void *))
{
	for (size_t root = count / 2; root--; )
		sift(base, root, count, size, compare);
	for (size_t end = count; end-- > 1; ) {
		swap(base, (char *)base + end * size, size);
		sift(base, 0, end, size, compare);
	}
}
