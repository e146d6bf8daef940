// SPDX-License-Identifier: GPL-2.0
/*
 * The harness's fail points as a module, so that they can be tried on a packaged kernel: their code
 * is made for kernels that have it built in, which finds them in the kernel's own parameters.
 */
#define pr_fmt(fmt) "fail_point: " fmt
#include <linux/module.h>
#include <linux/proc_fs.h>

#define __start___param (THIS_MODULE->kp)
#define __stop___param (THIS_MODULE->kp + THIS_MODULE->num_kp)
#undef late_initcall
#define late_initcall(function)
#undef pr_fmt
#include "fail_point.c"

static DEFINE_SPINLOCK(lock);

static ssize_t pass(struct file *file, const char __user *from, size_t size, loff_t *at)
{
	FAIL_POINT_RETURN(returns);
	FAIL_POINT(holds);
	spin_lock(&lock);
	FAIL_POINT_ATOMIC(atomic);
	FAIL_POINT(locked);
	spin_unlock(&lock);
	return size;
}

static const struct proc_ops operations = { .proc_write = pass };

static int __init begin(void)
{
	return proc_create("pass", 0200, NULL, &operations) ? add_points() : -ENOMEM;
}
module_init(begin);
MODULE_LICENSE("GPL");
