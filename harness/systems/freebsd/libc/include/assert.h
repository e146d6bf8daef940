/* SPDX-License-Identifier: BSD-2-Clause */
/* assert. */
#pragma once
#undef assert
#ifdef NDEBUG
#define assert(claim) ((void)0)
#else
#define assert(claim) ((claim) ? (void)0 : assertion_failed(#claim, __FILE__, __LINE__))
#endif
void assertion_failed(const char *claim, const char *file, int line) __attribute__((noreturn));
