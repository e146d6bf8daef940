/* SPDX-License-Identifier: BSD-2-Clause */
/* printf and what goes with it; stdout and stderr are not buffered. */
#pragma once
#include <stdarg.h>
#include <stddef.h>

typedef struct {
	int fd;
} FILE;

extern FILE *const stdout, *const stderr;

#define EOF (-1)
#define _IOLBF 1
#define _IONBF 2
#define BUFSIZ 1024

/* Conversions: % c s p d i u x X f g, with flags, width, precision and hh h l ll j z t. */
int printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
int fprintf(FILE *file, const char *format, ...) __attribute__((format(printf, 2, 3)));
int dprintf(int fd, const char *format, ...) __attribute__((format(printf, 2, 3)));
int vdprintf(int fd, const char *format, va_list ap);
int vprintf(const char *format, va_list ap);
int vfprintf(FILE *file, const char *format, va_list ap);
int snprintf(char *text, size_t n, const char *format, ...) __attribute__((format(printf, 3, 4)));
int vsnprintf(char *text, size_t n, const char *format, va_list ap);
int puts(const char *text);
int putchar(int c);
int fputs(const char *text, FILE *file);
int fflush(FILE *file);
int setvbuf(FILE *file, char *buffer, int mode, size_t n);
void perror(const char *what);
