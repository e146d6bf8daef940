/* SPDX-License-Identifier: BSD-2-Clause */
/* printf: formatted text into a buffer, or out by as few writes as it takes. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "syscall.h"

struct sink {
	char *text;
	size_t room, length;	/* of `text`; of everything */
	int fd;			/* -1: what exceeds the room is only counted */
};

struct spec {
	int left, plus, space, alternate, zero, width, precision;
};

static FILE output = { 1 }, errors = { 2 };
FILE *const stdout = &output, *const stderr = &errors;

static void put_out(int fd, const char *text, size_t n)
{
	while (n) {
		ssize_t written = write(fd, text, n);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return;
		text += written;
		n -= (size_t)written;
	}
}

static void put(struct sink *sink, char c)
{
	if (sink->fd >= 0 && sink->length && sink->length % sink->room == 0)
		put_out(sink->fd, sink->text, sink->room);
	if (sink->fd >= 0)
		sink->text[sink->length % sink->room] = c;
	else if (sink->length + 1 < sink->room)
		sink->text[sink->length] = c;
	sink->length++;
}

/* Padding, sign, zeros, and the digits (or text). */
static void put_field(struct sink *sink, const struct spec *spec, const char *sign, int zeros,
		      const char *digits, int length)
{
	int blank = spec->width - (int)strlen(sign) - zeros - length;

	if (spec->zero && !spec->left && blank > 0)
		zeros += blank, blank = 0;
	for (int i = spec->left ? 0 : blank; i > 0; i--)
		put(sink, ' ');
	while (*sign)
		put(sink, *sign++);
	while (zeros-- > 0)
		put(sink, '0');
	while (length-- > 0)
		put(sink, *digits++);
	for (int i = spec->left ? blank : 0; i > 0; i--)
		put(sink, ' ');
}

static void put_integer(struct sink *sink, struct spec spec, uint64_t value, const char *sign,
			unsigned base, const char *alphabet)
{
	char digits[24];
	int n = sizeof digits;

	for (; value; value /= base)
		digits[--n] = alphabet[value % base];
	int length = (int)sizeof digits - n;

	if (spec.precision >= 0)
		spec.zero = 0;
	int wanted = spec.precision < 0 ? 1 : spec.precision;

	put_field(sink, &spec, sign, wanted > length ? wanted - length : 0, digits + n, length);
}

/* %f, exact enough for times and rates: 64 bits before the point, up to 17 digits behind it. */
static void put_fixed(struct sink *sink, struct spec spec, double value, int shorten)
{
	char text[48];
	const char *sign = spec.plus ? "+" : spec.space ? " " : "";
	int digits = spec.precision < 0 ? 6 : spec.precision > 17 ? 17 : spec.precision;

	if (__builtin_signbit(value))
		sign = "-", value = -value;
	if (value != value || value > 1.8e19) {
		spec.zero = 0;
		put_field(sink, &spec, sign, 0, value != value ? "nan" : "inf", 3);
		return;
	}
	uint64_t scale = 1;

	for (int i = 0; i < digits; i++)
		scale *= 10;
	uint64_t whole = (uint64_t)value;
	uint64_t part = (uint64_t)((value - (double)whole) * (double)scale + 0.5);

	if (part >= scale)
		whole++, part -= scale;
	int n = snprintf(text, sizeof text, "%lu", whole);

	if (digits || spec.alternate)
		n += snprintf(text + n, sizeof text - (size_t)n, ".%0*lu", digits, part);
	if (shorten && digits) {
		while (text[n - 1] == '0')
			n--;
		n -= text[n - 1] == '.';
	}
	put_field(sink, &spec, sign, 0, text, n);
}

static uint64_t take_unsigned(va_list *ap, int size)
{
	switch (size) {
	case -2:
		return (unsigned char)va_arg(*ap, unsigned int);
	case -1:
		return (unsigned short)va_arg(*ap, unsigned int);
	case 0:
		return va_arg(*ap, unsigned int);
	default:
		return va_arg(*ap, uint64_t);
	}
}

static int64_t take_signed(va_list *ap, int size)
{
	switch (size) {
	case -2:
		return (signed char)va_arg(*ap, int);
	case -1:
		return (short)va_arg(*ap, int);
	case 0:
		return va_arg(*ap, int);
	default:
		return va_arg(*ap, int64_t);
	}
}

static const char *take_number(const char *format, va_list *ap, int *number)
{
	if (*format == '*') {
		*number = va_arg(*ap, int);
		return format + 1;
	}
	for (*number = 0; *format >= '0' && *format <= '9'; format++)
		*number = *number * 10 + *format - '0';
	return format;
}

static const char *take_spec(const char *format, va_list *ap, struct spec *spec, int *size)
{
	*spec = (struct spec){ .precision = -1 };
	for (;; format++) {
		if (*format == '-')
			spec->left = 1;
		else if (*format == '+')
			spec->plus = 1;
		else if (*format == ' ')
			spec->space = 1;
		else if (*format == '#')
			spec->alternate = 1;
		else if (*format == '0')
			spec->zero = 1;
		else
			break;
	}
	format = take_number(format, ap, &spec->width);
	if (spec->width < 0)
		spec->left = 1, spec->width = -spec->width;
	if (*format == '.')
		format = take_number(format + 1, ap, &spec->precision);
	for (*size = 0;; format++) {
		if (*format == 'h')
			--*size;
		else if (*format == 'l')
			++*size;
		else if (*format == 'j' || *format == 'z' || *format == 't')
			*size = 1;
		else
			return format;
	}
}

static void format_into(struct sink *sink, const char *format, va_list *ap)
{
	static const char lower[] = "0123456789abcdef", upper[] = "0123456789ABCDEF";
	struct spec spec;
	int size;

	for (; *format; format++) {
		if (*format != '%') {
			put(sink, *format);
			continue;
		}
		const char *begin = format;

		format = take_spec(format + 1, ap, &spec, &size);
		switch (*format) {
		case 'd':
		case 'i': {
			int64_t value = take_signed(ap, size);
			const char *sign = value < 0 ? "-" : spec.plus ? "+" : spec.space ? " " : "";

			put_integer(sink, spec, value < 0 ? -(uint64_t)value : (uint64_t)value, sign,
				    10, lower);
			break;
		}
		case 'u':
			put_integer(sink, spec, take_unsigned(ap, size), "", 10, lower);
			break;
		case 'o':
			put_integer(sink, spec, take_unsigned(ap, size), "", 8, lower);
			break;
		case 'x':
		case 'X': {
			uint64_t value = take_unsigned(ap, size);
			const char *prefix = !spec.alternate || !value ? "" : *format == 'x' ? "0x" : "0X";

			put_integer(sink, spec, value, prefix, 16, *format == 'x' ? lower : upper);
			break;
		}
		case 'p':
			put_integer(sink, spec, (uint64_t)va_arg(*ap, void *), "0x", 16, lower);
			break;
		case 'c': {
			char c = (char)va_arg(*ap, int);

			spec.zero = 0;
			put_field(sink, &spec, "", 0, &c, 1);
			break;
		}
		case 's': {
			const char *text = va_arg(*ap, const char *);

			text = text ? text : "(null)";
			spec.zero = 0;
			put_field(sink, &spec, "", 0, text,
				  (int)(spec.precision < 0 ? strlen(text)
							   : strnlen(text, (size_t)spec.precision)));
			break;
		}
		case 'f':
		case 'g':
			put_fixed(sink, spec, va_arg(*ap, double), *format == 'g');
			break;
		case '%':
			put(sink, '%');
			break;
		default:	/* nothing that is known here: as it stands */
			while (begin < format)
				put(sink, *begin++);
			if (!*format)
				return;
			put(sink, *format);
		}
	}
}

int vsnprintf(char *text, size_t n, const char *format, va_list ap)
{
	struct sink sink = { .text = text, .room = n, .fd = -1 };
	va_list copy;

	va_copy(copy, ap);
	format_into(&sink, format, &copy);
	va_end(copy);
	if (n)
		text[sink.length < n ? sink.length : n - 1] = 0;
	return (int)sink.length;
}

int vdprintf(int fd, const char *format, va_list ap)
{
	char text[BUFSIZ];
	struct sink sink = { .text = text, .room = sizeof text, .fd = fd };
	va_list copy;

	va_copy(copy, ap);
	format_into(&sink, format, &copy);
	va_end(copy);
	if (sink.length)
		put_out(fd, text, (sink.length - 1) % sink.room + 1);
	return (int)sink.length;
}

#define FORMATTED(call)				\
	va_list ap;				\
						\
	va_start(ap, format);			\
	int n = call;				\
	va_end(ap);				\
	return n

int snprintf(char *text, size_t size, const char *format, ...)
{
	FORMATTED(vsnprintf(text, size, format, ap));
}

int dprintf(int fd, const char *format, ...) { FORMATTED(vdprintf(fd, format, ap)); }
int printf(const char *format, ...) { FORMATTED(vdprintf(1, format, ap)); }
int fprintf(FILE *file, const char *format, ...) { FORMATTED(vdprintf(file->fd, format, ap)); }
int vprintf(const char *format, va_list ap) { return vdprintf(1, format, ap); }
int vfprintf(FILE *f, const char *format, va_list ap) { return vdprintf(f->fd, format, ap); }
int puts(const char *text) { return printf("%s\n", text); }
int fputs(const char *text, FILE *file) { return fprintf(file, "%s", text); }
int putchar(int c) { return printf("%c", c); }
int fflush(FILE *file) { (void)file; return 0; }
void perror(const char *what) { dprintf(2, "%s: %s\n", what, strerror(errno)); }

int setvbuf(FILE *file, char *buffer, int mode, size_t n)
{
	(void)file, (void)buffer, (void)mode, (void)n;
	return 0;
}
