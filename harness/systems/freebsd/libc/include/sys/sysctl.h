/* SPDX-License-Identifier: BSD-2-Clause */
/* sysctl(3): by name or by numbers (sys/sys/sysctl.h). */
#pragma once
#include <sys/types.h>

#define CTL_MAXNAME 24
#define CTL_SYSCTL 0
#define CTL_KERN 1
#define KERN_ARND 37
#define CTL_SYSCTL_NAME 1
#define CTL_SYSCTL_NEXT 2
#define CTL_SYSCTL_NAME2OID 3
#define CTL_SYSCTL_OIDFMT 4
#define CTLTYPE 0xf
#define CTLTYPE_NODE 1
#define CTLTYPE_INT 2
#define CTLTYPE_STRING 3
#define CTLTYPE_S64 4
#define CTLTYPE_OPAQUE 5
#define CTLTYPE_UINT 6
#define CTLTYPE_LONG 7
#define CTLTYPE_ULONG 8
#define CTLTYPE_U64 9
#define CTLTYPE_U8 10
#define CTLTYPE_U16 11
#define CTLTYPE_S8 12
#define CTLTYPE_S16 13
#define CTLTYPE_S32 14
#define CTLTYPE_U32 15
#define CTLFLAG_RD 0x80000000u
#define CTLFLAG_WR 0x40000000u

int sysctl(const int *name, u_int length, void *old, size_t *old_size, const void *new, size_t new_size);
int sysctlbyname(const char *name, void *old, size_t *old_size, const void *new, size_t new_size);
int sysctlnametomib(const char *name, int *mib, size_t *length);
