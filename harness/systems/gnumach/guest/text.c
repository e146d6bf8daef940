/* SPDX-License-Identifier: BSD-2-Clause */
/* Strings and formatting for a program without a C library. */
#include "mach.h"

void *memcpy(void *to, const void *from, size_t n)
{
	char *t = to;
	const char *f = from;

	while (n--)
		*t++ = *f++;
	return to;
}

void *memmove(void *to, const void *from, size_t n)
{
	char *t = to;
	const char *f = from;

	if (t <= f)
		return memcpy(to, from, n);
	while (n--)
		t[n] = f[n];
	return to;
}

void *memset(void *at, int value, size_t n)
{
	char *a = at;

	while (n--)
		*a++ = (char)value;
	return at;
}

int memcmp(const void *one, const void *other, size_t n)
{
	const unsigned char *a = one, *b = other;

	for (; n; n--, a++, b++)
		if (*a != *b)
			return *a - *b;
	return 0;
}

size_t length(const char *text)
{
	size_t n = 0;

	while (text[n])
		n++;
	return n;
}

int same(const char *one, const char *other)
{
	size_t n = length(one);

	return n == length(other) && !memcmp(one, other, n);
}

struct writer {
	char *at, *end;		/* `end` is where the final 0 must fit */
};

static void put(struct writer *to, char c)
{
	if (to->at < to->end)
		*to->at++ = c;
}

static void put_number(struct writer *to, unsigned long value, unsigned base, int width, char pad,
		       int negative)
{
	char digits[24];
	int n = 0;

	do
		digits[n++] = "0123456789abcdef"[value % base];
	while (value /= base);
	if (negative)
		digits[n++] = '-';
	for (int i = n; i < width; i++)
		put(to, pad);
	while (n)
		put(to, digits[--n]);
}

/* Returns how many characters there are in `into`, the final 0 not counted. */
int format_list(char *into, size_t room, const char *how, va_list values)
{
	struct writer to = { into, into + room - 1 };

	for (; *how; how++) {
		int width = 0, wide = 0;
		char pad = ' ';
		long value;

		if (*how != '%') {
			put(&to, *how);
			continue;
		}
		if (*++how == '0')
			pad = '0';
		for (; *how >= '0' && *how <= '9'; how++)
			width = width * 10 + (*how - '0');
		for (; *how == 'l'; how++)
			wide = 1;
		switch (*how) {
		case 's':
			for (const char *text = va_arg(values, const char *); *text; text++)
				put(&to, *text);
			break;
		case 'c':
			put(&to, (char)va_arg(values, int));
			break;
		case 'd':
			value = wide ? va_arg(values, long) : va_arg(values, int);
			put_number(&to, value < 0 ? -(unsigned long)value : (unsigned long)value, 10,
				   width, pad, value < 0);
			break;
		case 'u':
		case 'x':
			put_number(&to, wide ? va_arg(values, unsigned long)
					     : va_arg(values, unsigned int),
				   *how == 'x' ? 16 : 10, width, pad, 0);
			break;
		default:
			put(&to, *how);
		}
	}
	*to.at = 0;
	return (int)(to.at - into);
}

int format(char *into, size_t room, const char *how, ...)
{
	va_list values;

	va_start(values, how);
	int n = format_list(into, room, how, values);
	va_end(values);
	return n;
}
