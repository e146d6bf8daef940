/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory and strings; the compiler calls some of it by itself. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "syscall.h"

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
#if defined(__x86_64__)
	void *start = to;

	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
	return start;
#else
	return memmove(to, from, n);
#endif
}

void *memmove(void *to, const void *from, size_t n)
{
	unsigned char *t = to;
	const unsigned char *f = from;

	if (t <= f || t >= f + n) {
		for (; n >= 8 && !(((size_t)t | (size_t)f) & 7); n -= 8, t += 8, f += 8)
			*(volatile uint64_t *)t = *(const uint64_t *)f;
		while (n--)
			*(volatile unsigned char *)t++ = *f++;
	} else {
		while (n--)
			((volatile unsigned char *)t)[n] = f[n];
	}
	return to;
}

void *memset(void *at, int value, size_t n)
{
#if defined(__x86_64__)
	void *start = at;

	__asm__ volatile("rep stosb" : "+D"(at), "+c"(n) : "a"(value) : "memory");
	return start;
#else
	volatile unsigned char *p = at;
	uint64_t word = 0x0101010101010101u * (unsigned char)value;

	while (n && (size_t)p & 7)
		*p++ = (unsigned char)value, n--;
	for (; n >= 8; n -= 8, p += 8)
		*(volatile uint64_t *)p = word;
	while (n--)
		*p++ = (unsigned char)value;
	return at;
#endif
}

int memcmp(const void *a, const void *b, size_t n)
{
	const unsigned char *p = a, *q = b;

	for (; n; n--, p++, q++)
		if (*p != *q)
			return *p - *q;
	return 0;
}

void *memchr(const void *at, int value, size_t n)
{
	for (const unsigned char *p = at; n; n--, p++)
		if (*p == (unsigned char)value)
			return (void *)p;
	return NULL;
}

size_t strlen(const char *text)
{
	const char *end = text;

	while (*(const volatile char *)end)
		end++;
	return (size_t)(end - text);
}

size_t strnlen(const char *text, size_t n)
{
	const char *end = memchr(text, 0, n);

	return end ? (size_t)(end - text) : n;
}

int strncmp(const char *a, const char *b, size_t n)
{
	for (; n && *a && *a == *b; n--)
		a++, b++;
	return n ? (unsigned char)*a - (unsigned char)*b : 0;
}

int strcmp(const char *a, const char *b)
{
	return strncmp(a, b, (size_t)-1);
}

char *strchr(const char *text, int c)
{
	for (; *text != (char)c; text++)
		if (!*text)
			return NULL;
	return (char *)text;
}

char *strrchr(const char *text, int c)
{
	for (size_t n = strlen(text) + 1; n--; )
		if (text[n] == (char)c)
			return (char *)text + n;
	return NULL;
}

char *strstr(const char *text, const char *word)
{
	size_t n = strlen(word);

	for (; strncmp(text, word, n); text++)
		if (!*text)
			return NULL;
	return (char *)text;
}

size_t strlcpy(char *restrict to, const char *restrict from, size_t n)
{
	size_t length = strlen(from), taken = n && length >= n ? n - 1 : length;

	if (n) {
		memcpy(to, from, taken);
		to[taken] = 0;
	}
	return length;
}

size_t strlcat(char *restrict to, const char *restrict from, size_t n)
{
	size_t have = strnlen(to, n);

	return have + strlcpy(to + have, from, n - have);
}

char *strcpy(char *restrict to, const char *restrict from)
{
	return memcpy(to, from, strlen(from) + 1);
}

char *strncpy(char *restrict to, const char *restrict from, size_t n)
{
	size_t length = strnlen(from, n);

	memcpy(to, from, length);
	memset(to + length, 0, n - length);
	return to;
}

char *strcat(char *restrict to, const char *restrict from)
{
	strcpy(to + strlen(to), from);
	return to;
}

char *strdup(const char *text)
{
	size_t n = strlen(text) + 1;
	char *copy = malloc(n);

	return copy ? memcpy(copy, text, n) : NULL;
}

char *strerror(int number)
{
	static const char *const texts[] = {
		[EPERM] = "Operation not permitted", [ENOENT] = "No such file or directory",
		[ESRCH] = "No such process", [EINTR] = "Interrupted system call",
		[EIO] = "Input/output error", [ENXIO] = "Device not configured",
		[E2BIG] = "Argument list too long", [ENOEXEC] = "Exec format error",
		[EBADF] = "Bad file descriptor", [ECHILD] = "No child processes",
		[EDEADLK] = "Resource deadlock avoided", [ENOMEM] = "Cannot allocate memory",
		[EACCES] = "Permission denied", [EFAULT] = "Bad address", [EBUSY] = "Device busy",
		[EEXIST] = "File exists", [ENODEV] = "Operation not supported by device",
		[ENOTDIR] = "Not a directory", [EISDIR] = "Is a directory",
		[EINVAL] = "Invalid argument", [EMFILE] = "Too many open files",
		[ENOTTY] = "Inappropriate ioctl for device", [EFBIG] = "File too large",
		[ENOSPC] = "No space left on device", [EROFS] = "Read-only file system",
		[EPIPE] = "Broken pipe", [ERANGE] = "Result too large",
		[EAGAIN] = "Resource temporarily unavailable",
		[EOPNOTSUPP] = "Operation not supported", [ETIMEDOUT] = "Operation timed out",
		[ENAMETOOLONG] = "File name too long", [ENOSYS] = "Function not implemented",
		[EOVERFLOW] = "Value too large to be stored in data type",
	};
	static __thread char unknown[24];

	if (number >= 0 && number < (int)(sizeof texts / sizeof texts[0]) && texts[number])
		return (char *)texts[number];
	snprintf(unknown, sizeof unknown, "Error %d", number);
	return unknown;
}
