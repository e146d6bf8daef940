// SPDX-License-Identifier: GPL-2.0
/*
 * Named fail points: the language of FreeBSD's fail(9), and the files in debugfs.
 *
 *	setting :=  term ( "->" term )*
 *	term    :=  ( number "%" | integer "*" )*  action  [ "(" integer ")" ]  [ "[pid " integer "]" ]
 *	action  :=  off return sleep panic break print pause yield delay
 *
 * sleep takes milliseconds, delay microseconds.  The first term that executes ends the evaluation,
 * except a print with another argument than 0.  See linux/fail_point.h for the use.
 */
#define pr_fmt(fmt) "fail_point: " fmt

#include <linux/ctype.h>
#include <linux/debugfs.h>
#include <linux/fail_point.h>
#include <linux/hrtimer.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kgdb.h>
#include <linux/ktime.h>
#include <linux/preempt.h>
#include <linux/random.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#define ALWAYS		1000000u	/* parts per million */
#define PERCENT		(ALWAYS / 100)
#define UNLIMITED	-1
#define ANY_PID		-1

enum { OFF, RETURN, SLEEP, PANIC, BREAK, PRINT, PAUSE, YIELD, DELAY, ACTIONS };

static const char *const action_names[ACTIONS] = {
	[OFF] = "off",	   [RETURN] = "return", [SLEEP] = "sleep", [PANIC] = "panic",
	[BREAK] = "break", [PRINT] = "print",	[PAUSE] = "pause", [YIELD] = "yield",
	[DELAY] = "delay",
};

/* Who sleeps at a fail point waits here, to be woken when a setting changes. */
static DECLARE_WAIT_QUEUE_HEAD(setting_changed);
static DEFINE_RAW_SPINLOCK(random_lock);
static u64 random_state;

/* ---- the language ------------------------------------------------------------------------- */

static int parse_int(const char **text, int least, int *value)
{
	bool negative = **text == '-';
	const char *digits = *text + negative;
	unsigned long long magnitude;
	char *end;

	if (!isdigit(*digits))
		return -EINVAL;
	magnitude = simple_strtoull(digits, &end, 0);
	/* twenty digits overflow silently there */
	if (end - digits > 18 || magnitude > (unsigned long long)INT_MAX + negative)
		return -ERANGE;
	*value = negative ? (int)-(long long)magnitude : (int)magnitude;
	*text = end;
	return *value < least ? -EINVAL : 0;
}

/* A percentage, with up to four decimals that count, or a count of executions. */
static int parse_modifier(const char **text, struct fail_point_term *term)
{
	const char *p = *text;
	u64 units = 0;
	u32 decimals = 0, scale = PERCENT;
	bool point = false;

	for (; isdigit(*p); p++)
		if (units <= INT_MAX)
			units = units * 10 + *p - '0';
	if (*p == '.') {
		point = true;
		if (!isdigit(*++p))
			return -EINVAL;
		for (; isdigit(*p); p++) {
			if (scale > 1)
				decimals += (*p - '0') * (scale /= 10);
			else if (scale == 1)
				decimals += *p >= '5', scale = 0; /* rounds, by the first digit only */
		}
	}
	if (*p == '%') {
		if (units > 100 || units * PERCENT + decimals > ALWAYS || units * PERCENT + decimals == 0)
			return -ERANGE;
		term->probability = units * PERCENT + decimals;
	} else if (*p == '*') {
		if (point || units == 0 || units > INT_MAX)
			return -EINVAL;
		term->count = units;
	} else {
		return -EINVAL;
	}
	*text = p + 1;
	return 0;
}

static bool takes_time(int action)
{
	return action == SLEEP || action == DELAY;
}

static int parse_term(const char **text, struct fail_point_term *term)
{
	bool argument = false;
	int action, error;

	*term = (struct fail_point_term){ .probability = ALWAYS, .count = UNLIMITED, .pid = ANY_PID };
	while (isdigit(**text) || **text == '.') {
		error = parse_modifier(text, term);
		if (error)
			return error;
	}
	for (action = 0; action < ACTIONS; action++)
		if (str_has_prefix(*text, action_names[action]))
			break;
	if (action == ACTIONS)
		return -EINVAL;
	term->action = action;
	*text += strlen(action_names[action]);
	if (**text == '(') {
		argument = true;
		++*text;
		error = parse_int(text, takes_time(action) ? 0 : INT_MIN, &term->argument);
		if (error)
			return error;
		if (*(*text)++ != ')')
			return -EINVAL;
	}
	if (takes_time(action) && !argument)
		return -EINVAL;
	if (str_has_prefix(*text, "[pid ")) {
		*text += strlen("[pid ");
		error = parse_int(text, 0, &term->pid);
		if (error)
			return error;
		if (*(*text)++ != ']')
			return -EINVAL;
	}
	return 0;
}

/* The terms of a setting; their number, or a negative error. */
static int parse_setting(const char *text, struct fail_point_term *terms)
{
	int count = 0;
	bool unreachable = false;

	for (;;) {
		struct fail_point_term term;
		int error = parse_term(&text, &term);

		if (error)
			return error;
		if (count == FAIL_POINT_MAX_TERMS)
			return -E2BIG;
		/* an "off" that takes every evaluation: nothing behind it is ever reached */
		unreachable |= term.action == OFF && term.probability == ALWAYS &&
			       term.count == UNLIMITED && term.pid == ANY_PID;
		if (!unreachable)
			terms[count++] = term;
		if (*text == '\0')
			return count;
		if (text[0] != '-' || text[1] != '>')
			return -EINVAL;
		text += 2;
	}
}

static void show_term(struct seq_file *file, const struct fail_point_term *term)
{
	u32 units = term->probability / PERCENT, decimals = term->probability % PERCENT;

	if (term->probability != ALWAYS) {
		seq_printf(file, "%u", units);
		if (decimals) {
			int digits = 4;

			for (; decimals % 10 == 0; decimals /= 10)
				digits--;
			seq_printf(file, ".%0*u", digits, decimals);
		}
		seq_putc(file, '%');
	}
	if (term->count != UNLIMITED)
		seq_printf(file, "%d*", term->count);
	seq_puts(file, action_names[term->action]);
	if (term->argument || takes_time(term->action))
		seq_printf(file, "(%d)", term->argument);
	if (term->pid != ANY_PID)
		seq_printf(file, "[pid %d]", term->pid);
}

/* ---- setting ------------------------------------------------------------------------------ */

static void wake_held(struct fail_point *point)
{
	/* at boot parameters are read before there is a scheduler, and nobody is held */
	if (system_state > SYSTEM_BOOTING)
		wake_up_all(&setting_changed);
}

static int set_point(struct fail_point *point, const char *text)
{
	struct fail_point_term terms[FAIL_POINT_MAX_TERMS];
	unsigned long irq;
	int count, i;

	if (strlen(text) > FAIL_POINT_MAX_TEXT)
		return -E2BIG;
	count = parse_setting(text, terms);
	if (count < 0)
		return count;
	for (i = 0; i < count; i++)
		if (terms[i].action == RETURN && !(point->flags & FAIL_POINT_RETURNS))
			return -EOPNOTSUPP;
	raw_spin_lock_irqsave(&point->lock, irq);
	memcpy(point->terms, terms, count * sizeof(*terms));
	point->term_count = count;
	point->evaluated = point->fired = point->spun = 0;
	WRITE_ONCE(point->generation, point->generation + 1);
	WRITE_ONCE(point->set, count > 0);
	raw_spin_unlock_irqrestore(&point->lock, irq);
	wake_held(point);
	return 0;
}

static int set_at_boot(const char *text, const struct kernel_param *parameter)
{
	return text ? set_point(parameter->arg, text) : -EINVAL;
}

const struct kernel_param_ops fail_point_param_ops = { .set = set_at_boot };

/* ---- evaluation --------------------------------------------------------------------------- */

/* splitmix64 (Steele, Lea and Flood, OOPSLA 2014) */
static u32 random_below(u32 limit)
{
	unsigned long irq;
	u64 z;

	raw_spin_lock_irqsave(&random_lock, irq);
	z = random_state += 0x9e3779b97f4a7c15ull;
	raw_spin_unlock_irqrestore(&random_lock, irq);
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return (u32)(((z ^ z >> 31) >> 32) * limit >> 32);
}

/* The next term, from *next on, that executes now; false if none does. */
static bool choose(struct fail_point *point, unsigned int *next, struct fail_point_term *chosen,
		   unsigned int *generation)
{
	bool found = false, left = false;
	unsigned int i = *next;
	unsigned long irq;

	raw_spin_lock_irqsave(&point->lock, irq);
	if (i == 0) {
		*generation = point->generation;
		point->evaluated++;
	} else if (*generation != point->generation) {
		i = point->term_count;
	}
	for (; i < point->term_count && !found; i++) {
		struct fail_point_term *term = &point->terms[i];

		if (term->count == 0)
			continue;
		if (term->probability < ALWAYS && random_below(ALWAYS) >= term->probability)
			continue;
		if (term->pid != ANY_PID && term->pid != task_tgid_nr(current))
			continue;
		if (term->count != UNLIMITED)
			term->count--;
		*chosen = *term;
		*next = i + 1;
		found = true;
	}
	if (found) {
		point->fired++;
		for (i = 0; i < point->term_count; i++)
			left |= point->terms[i].count != 0;
		WRITE_ONCE(point->set, left);
	}
	raw_spin_unlock_irqrestore(&point->lock, irq);
	return found;
}

static bool changed(struct fail_point *point, unsigned int generation)
{
	return READ_ONCE(point->generation) != generation;
}

/* As far as the kernel knows: without CONFIG_PREEMPT_COUNT it does not count spinlocks. */
static bool must_spin(const struct fail_point *point)
{
	return point->flags & FAIL_POINT_NONSLEEPABLE || system_state == SYSTEM_BOOTING ||
	       irqs_disabled() || in_interrupt() || rcu_preempt_depth() > 0 ||
	       (IS_ENABLED(CONFIG_PREEMPT_COUNT) && !preemptible());
}

static void count_held(struct fail_point *point, int more)
{
	unsigned long irq;

	raw_spin_lock_irqsave(&point->lock, irq);
	point->held += more;
	raw_spin_unlock_irqrestore(&point->lock, irq);
}

/* Holds the caller on its CPU until the time, or until the setting changes. */
static void spin(struct fail_point *point, unsigned int generation, ktime_t until)
{
	while (ktime_before(ktime_get(), until) && !changed(point, generation))
		cpu_relax();
}

/* Lets others run meanwhile.  Killable, so that a person gets rid of a process in a long pause. */
static void sleep_until(struct fail_point *point, unsigned int generation, ktime_t *until)
{
	DEFINE_WAIT(entry);

	for (;;) {
		prepare_to_wait(&setting_changed, &entry, TASK_KILLABLE);
		if (changed(point, generation) || fatal_signal_pending(current))
			break;
		if (schedule_hrtimeout(until, HRTIMER_MODE_ABS) == 0)
			break;
	}
	finish_wait(&setting_changed, &entry);
}

static void hold(struct fail_point *point, unsigned int generation, u64 nanoseconds, bool may_sleep)
{
	ktime_t until = nanoseconds == U64_MAX ? KTIME_MAX : ktime_add_ns(ktime_get(), nanoseconds);
	unsigned long irq;

	count_held(point, 1);
	if (may_sleep && must_spin(point)) {
		may_sleep = false;
		raw_spin_lock_irqsave(&point->lock, irq);
		point->spun++;
		raw_spin_unlock_irqrestore(&point->lock, irq);
	}
	if (may_sleep)
		sleep_until(point, generation, nanoseconds == U64_MAX ? NULL : &until);
	else
		spin(point, generation, until);
	count_held(point, -1);
}

static void break_into_debugger(const struct fail_point *point)
{
	pr_emerg("%s breaks\n", point->name);
#ifdef CONFIG_KGDB
	kgdb_breakpoint();
#else
	BUG();
#endif
}

bool fail_point_evaluate(struct fail_point *point, int *value)
{
	unsigned int next = 0, generation = 0;
	struct fail_point_term term;

	while (choose(point, &next, &term, &generation)) {
		switch (term.action) {
		case RETURN:
			*value = term.argument;
			return true;
		case SLEEP:
			hold(point, generation, (u64)term.argument * NSEC_PER_MSEC, true);
			return false;
		case DELAY:
			hold(point, generation, (u64)term.argument * NSEC_PER_USEC, false);
			return false;
		case PAUSE:
			hold(point, generation, U64_MAX, true);
			return false;
		case YIELD:
			if (!must_spin(point))
				yield();
			return false;
		case PANIC:
			panic("fail point %s panics", point->name);
		case BREAK:
			break_into_debugger(point);
			return false;
		case PRINT:
			pr_info("%s executes, %s[%d] on CPU %d\n", point->name, current->comm,
				task_tgid_nr(current), raw_smp_processor_id());
			if (term.argument)
				continue;
			return false;
		default:
			return false;
		}
	}
	return false;
}

/* ---- debugfs ------------------------------------------------------------------------------ */

static int show_setting(struct seq_file *file, void *unused)
{
	struct fail_point *point = file->private;
	struct fail_point_term terms[FAIL_POINT_MAX_TERMS];
	unsigned int count, shown = 0, i;
	unsigned long irq;

	raw_spin_lock_irqsave(&point->lock, irq);
	count = point->term_count;
	memcpy(terms, point->terms, count * sizeof(*terms));
	raw_spin_unlock_irqrestore(&point->lock, irq);
	for (i = 0; i < count; i++) {
		if (terms[i].count == 0)
			continue; /* used up */
		if (shown++)
			seq_puts(file, "->");
		show_term(file, &terms[i]);
	}
	seq_puts(file, shown ? "\n" : "off\n");
	return 0;
}

static ssize_t write_setting(struct file *file, const char __user *from, size_t size, loff_t *at)
{
	struct fail_point *point = ((struct seq_file *)file->private_data)->private;
	char *text;
	int error;

	if (size > FAIL_POINT_MAX_TEXT + 1)
		return -E2BIG;
	text = memdup_user_nul(from, size);
	if (IS_ERR(text))
		return PTR_ERR(text);
	error = set_point(point, strim(text));
	kfree(text);
	return error ? error : size;
}

static int open_setting(struct inode *inode, struct file *file)
{
	return single_open(file, show_setting, inode->i_private);
}

static const struct file_operations setting_operations = {
	.open = open_setting,
	.read = seq_read,
	.write = write_setting,
	.llseek = seq_lseek,
	.release = single_release,
};

static int status_show(struct seq_file *file, void *unused)
{
	struct fail_point *point = file->private;
	u64 evaluated, fired, held, spun;
	unsigned long irq;

	raw_spin_lock_irqsave(&point->lock, irq);
	evaluated = point->evaluated;
	fired = point->fired;
	held = point->held;
	spun = point->spun;
	raw_spin_unlock_irqrestore(&point->lock, irq);
	seq_printf(file, "evaluated %llu\nfired %llu\nheld %llu\nspun %llu\nwhere %s:%d %s\n", evaluated,
		   fired, held, spun, point->file, point->line, point->function);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(status);

static int __init add_point(const struct fail_point *point, struct dentry *folder)
{
	struct dentry *made;
	char *status;

	made = debugfs_create_file(point->name, 0600, folder, (void *)point, &setting_operations);
	if (IS_ERR(made)) {
		/* of two fail points of one name only the first could be set */
		pr_err("%s (%s:%d): no file for it: %ld\n", point->name, point->file, point->line,
		       PTR_ERR(made));
		return PTR_ERR(made);
	}
	status = kasprintf(GFP_KERNEL, "status_%s", point->name);
	if (!status)
		return -ENOMEM;
	debugfs_create_file(status, 0400, folder, (void *)point, &status_fops);
	kfree(status);
	return 0;
}

static int __init add_points(void)
{
	struct dentry *folder = debugfs_create_dir("fail_point", NULL);
	const struct kernel_param *parameter;
	int error = 0;

	get_random_bytes(&random_state, sizeof(random_state));
	for (parameter = __start___param; parameter < __stop___param; parameter++)
		if (parameter->ops == &fail_point_param_ops)
			error = add_point(parameter->arg, folder) ?: error;
	return error;
}
late_initcall(add_points);
