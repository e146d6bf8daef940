/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Named fail points in Linux, set in the language of FreeBSD's fail(9).
 *
 * A fail point is one line in the code, and a file of its name in debugfs:
 *
 *	FAIL_POINT(swapin_read);
 *
 *	echo '50%sleep(5)' > /sys/kernel/debug/fail_point/swapin_read
 *	cat /sys/kernel/debug/fail_point/status_swapin_read
 *	echo off > /sys/kernel/debug/fail_point/swapin_read
 *
 * or, from the first instruction of the boot on, a word of the kernel's command line:
 *
 *	fail_point.swapin_read=50%sleep(5)
 *
 * Names are unique in a kernel, and its code is built in, not a module's.  A fail point that is off
 * costs a load and a branch.
 */
#ifndef _LINUX_FAIL_POINT_H
#define _LINUX_FAIL_POINT_H

#include <linux/compiler.h>
#include <linux/export.h>
#include <linux/moduleparam.h>
#include <linux/spinlock_types.h>
#include <linux/types.h>

#define FAIL_POINT_MAX_TERMS	20	/* FreeBSD's bounds (kern_fail.c), so that one text serves both */
#define FAIL_POINT_MAX_TEXT	1023

/* What a fail point can do beside holding its caller. */
#define FAIL_POINT_RETURNS	1	/* has code for return(n) */
#define FAIL_POINT_NONSLEEPABLE	2	/* is in a context that must not sleep: sleep() spins */

struct fail_point_term {
	u32 probability;	/* parts per million of the evaluations */
	s32 count;		/* executions left; negative: without limit */
	s32 argument;
	s32 pid;		/* of the process (tgid); negative: any */
	u8 action;
};

struct fail_point {
	const char *name;
	const char *function;
	const char *file;
	int line;
	unsigned int flags;
	bool set;		/* some term may still execute */
	raw_spinlock_t lock;	/* of all below */
	unsigned int generation; /* changes with the setting: who is held looks at it */
	unsigned int term_count;
	struct fail_point_term terms[FAIL_POINT_MAX_TERMS];
	u64 evaluated;		/* since the last setting */
	u64 fired;
	u64 held;		/* are held just now */
	u64 spun;		/* sleeps that had to spin, because the caller must not sleep */
};

extern const struct kernel_param_ops fail_point_param_ops;

/* Whether a return(n) executed; then *value is n. */
bool fail_point_evaluate(struct fail_point *point, int *value);

/*
 * The fail point is found through the table of boot parameters: it needs no section of its own in
 * the linker script, and no call at boot.  Permissions 0: no file under /sys/module.
 */
#define FAIL_POINT_CODE_FLAGS(point_name, point_flags, code)			\
	do {									\
		static struct fail_point fail_point__##point_name = {		\
			.name = #point_name,					\
			.function = __func__,					\
			.file = __FILE__,					\
			.line = __LINE__,					\
			.flags = (point_flags),					\
			.lock = __RAW_SPIN_LOCK_INITIALIZER(			\
				fail_point__##point_name.lock),			\
		};								\
		__module_param_call("fail_point.", point_name,			\
				    &fail_point_param_ops,			\
				    &fail_point__##point_name, 0, -1, 0);	\
		int RETURN_VALUE __maybe_unused = 0;				\
										\
		if (unlikely(READ_ONCE(fail_point__##point_name.set)) &&	\
		    fail_point_evaluate(&fail_point__##point_name,		\
					&RETURN_VALUE)) {			\
			code;							\
		}								\
	} while (0)

/* Holds, prints, panics; has nothing to return. */
#define FAIL_POINT(name) FAIL_POINT_CODE_FLAGS(name, 0, )
/* The same under a spinlock, with interrupts off, in an interrupt. */
#define FAIL_POINT_ATOMIC(name) FAIL_POINT_CODE_FLAGS(name, FAIL_POINT_NONSLEEPABLE, )
/* return(n) executes code, in which RETURN_VALUE is n. */
#define FAIL_POINT_CODE(name, code) FAIL_POINT_CODE_FLAGS(name, FAIL_POINT_RETURNS, code)
#define FAIL_POINT_RETURN(name) FAIL_POINT_CODE(name, return RETURN_VALUE)
#define FAIL_POINT_RETURN_VOID(name) FAIL_POINT_CODE(name, return)
#define FAIL_POINT_ERROR(name, variable) FAIL_POINT_CODE(name, (variable) = RETURN_VALUE)
#define FAIL_POINT_GOTO(name, variable, label)					\
	FAIL_POINT_CODE(name, { (variable) = RETURN_VALUE; goto label; })

#endif
