/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The micro-guest's commands: no shell, but the few things that a target needs set up, and programs.
 *
 * A text is commands with `;`, `&&` or line ends between them; whatever stands there, the first
 * command that fails ends it. A command is words with blanks between them; '…' and "…" keep blanks,
 * and nothing else has a meaning. A first word with a slash is a program. `exec` is left out.
 */
#include "commands.h"

#include <errno.h>
#include <fcntl.h>
#include <kenv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mdioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "sysctl.h"

enum { MAX_WORDS = 128, MAX_EXPORTED = 64, NOT_FOUND = 127, USAGE = 2 };

struct command {
	const char *name, *usage;
	int least, most;	/* words behind the name */
	int (*run)(char **words, int count);
};

static int failed(const char *what, const char *about)
{
	dprintf(2, "%s: %s: %s\n", what, about, strerror(errno));
	return 1;
}

static int run_echo(char **words, int count)
{
	for (int i = 0; i < count; i++)
		printf("%s%s", i ? " " : "", words[i]);
	printf("\n");
	return 0;
}

static int run_cat(char **words, int count)
{
	char chunk[4096];

	for (int i = 0; i < count; i++) {
		int fd = open(words[i], O_RDONLY);
		ssize_t n = -1;

		while (fd >= 0 && (n = read(fd, chunk, sizeof chunk)) > 0)
			if (write(1, chunk, (size_t)n) != n)
				return failed("cat", "output");
		if (n < 0)
			return failed("cat", words[i]);
		close(fd);
	}
	return 0;
}

static int run_write(char **words, int count)
{
	int fd = open(words[0], O_WRONLY | O_CREAT | O_TRUNC, 0644);

	(void)count;
	if (fd < 0)
		return failed("write", words[0]);
	if (dprintf(fd, "%s\n", words[1]) < 0 || close(fd))
		return failed("write", words[0]);
	return 0;
}

static int run_mkdir(char **words, int count)
{
	(void)count;
	return mkdir(words[0], 0755) ? failed("mkdir", words[0]) : 0;
}

static int run_sleep(char **words, int count)
{
	double seconds = strtod(words[0], NULL);

	(void)count;
	for (; seconds > 1000; seconds -= 1000)	/* useconds_t has 32 bits */
		usleep(1000000000);
	if (seconds > 0)
		usleep((useconds_t)(seconds * 1e6));
	return 0;
}

/* NAME=VALUE for the programs behind it in the same text. */
static int run_export(char **words, int count)
{
	static char *exported[MAX_EXPORTED + 1];
	const char *sign = strchr(words[0], '=');
	int n = 0;

	(void)count;
	if (!sign || sign == words[0]) {
		dprintf(2, "export: %s: expected NAME=VALUE\n", words[0]);
		return USAGE;
	}
	size_t name = (size_t)(sign - words[0]) + 1;

	for (char **at = environ; at && *at; at++)
		if (strncmp(*at, words[0], name)) {
			if (n == MAX_EXPORTED - 1) {
				dprintf(2, "export: more than %d variables\n", MAX_EXPORTED);
				return 1;
			}
			exported[n++] = *at;
		}
	exported[n++] = words[0];
	exported[n] = NULL;
	environ = exported;
	return 0;
}

static int run_kenv(char **words, int count)
{
	static char text[65536];

	if (count) {
		if (kenv(KENV_GET, words[0], text, sizeof text - 1) < 0)
			return failed("kenv", words[0]);
		printf("%s\n", text);
		return 0;
	}
	if (kenv(KENV_DUMP, NULL, text, sizeof text - 1) < 0)
		return failed("kenv", "all");
	for (char *at = text; *at; at += strlen(at) + 1)
		printf("%s\n", at);
	return 0;
}

static int run_swapon(char **words, int count)
{
	(void)count;
	return swapon(words[0]) ? failed("swapon", words[0]) : 0;
}

/* A disk in wired memory, which is there at once: swapping to it takes no other memory. */
static int run_mdconfig(char **words, int count)
{
	long mib = strtol(words[0], NULL, 0);
	struct md_ioctl order = {
		.md_version = MDIOVERSION, .md_type = MD_MALLOC, .md_mediasize = (off_t)mib << 20,
		.md_sectorsize = 4096, .md_options = MD_AUTOUNIT | MD_RESERVE,
	};
	int fd = open("/dev/mdctl", O_RDWR);

	(void)count;
	if (fd < 0 || mib < 1 || ioctl(fd, MDIOCATTACH, &order))
		return failed("mdconfig", words[0]);
	printf("/dev/md%u\n", order.md_unit);
	return 0;
}

static int run_mount(char **words, int count)
{
	char message[256] = "";
	struct iovec options[] = {
		{ "fstype", 7 }, { words[0], strlen(words[0]) + 1 },
		{ "from", 5 }, { words[1], strlen(words[1]) + 1 },
		{ "fspath", 7 }, { words[2], strlen(words[2]) + 1 },
		{ "errmsg", 7 }, { message, sizeof message },
	};

	(void)count;
	if (nmount(options, sizeof options / sizeof options[0], 0)) {
		dprintf(2, "mount: %s: %s%s%s\n", words[2], strerror(errno), *message ? ": " : "",
			message);
		return 1;
	}
	return 0;
}

static int write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_NOCTTY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return failed("trial", path);
	if (isatty(fd))
		tcdrain(fd);	/* a panic's text would overtake it */
	return close(fd);
}

/* The trial's own randomness, and a line on the console where the trial's part begins. */
static int run_trial(char **words, int count)
{
	char line[128];

	(void)count;
	snprintf(line, sizeof line, "harness: trial, seed %s\n", words[0]);
	return write_to("/dev/random", words[0]) || write_to("/dev/console", line);
}

static int run_program(char **words)
{
	execve(words[0], words, environ);
	dprintf(2, "%s: %s\n", words[0], strerror(errno));
	return NOT_FOUND;
}

static int run_shell(char **words, int count)
{
	(void)words, (void)count;
	return serve_prompt();
}

static int run_help(char **words, int count);

static const struct command commands[] = {
	{ "cat", "FILE …", 1, MAX_WORDS, run_cat },
	{ "echo", "WORD …", 0, MAX_WORDS, run_echo },
	{ "export", "NAME=VALUE", 1, 1, run_export },
	{ "help", "", 0, 0, run_help },
	{ "kenv", "[NAME]", 0, 1, run_kenv },
	{ "mdconfig", "MIB (a memory disk; prints its name)", 1, 1, run_mdconfig },
	{ "mkdir", "FOLDER", 1, 1, run_mkdir },
	{ "mount", "TYPE FROM WHERE", 3, 3, run_mount },
	{ "sh", "(a prompt)", 0, MAX_WORDS, run_shell },
	{ "sleep", "SECONDS", 1, 1, run_sleep },
	{ "swapon", "DEVICE", 1, 1, run_swapon },
	{ "sysctl", "[-n] NAME[=VALUE] …", 1, MAX_WORDS, run_sysctl },
	{ "trial", "SEED", 1, 1, run_trial },
	{ "write", "FILE TEXT", 2, 2, run_write },
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static int run_help(char **words, int count)
{
	(void)words, (void)count;
	for (int i = 0; i < COMMANDS; i++)
		printf("%s %s\n", commands[i].name, commands[i].usage);
	printf("/PROGRAM ARGUMENT …\n");
	return 0;
}

static int run_words(char **words, int count, int last)
{
	int status;

	if (strchr(words[0], '/')) {
		if (last)
			return run_program(words);
		pid_t pid = fork();

		if (pid == 0)
			_exit(run_program(words));
		if (pid < 0 || waitpid(pid, &status, 0) < 0)
			return failed("fork", words[0]);
		return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	}
	for (int i = 0; i < COMMANDS; i++) {
		const struct command *c = &commands[i];

		if (strcmp(words[0], c->name))
			continue;
		if (count - 1 < c->least || count - 1 > c->most) {
			dprintf(2, "usage: %s %s\n", c->name, c->usage);
			return USAGE;
		}
		return c->run(words + 1, count - 1);
	}
	dprintf(2, "%s: not a command of this guest; `help` lists them\n", words[0]);
	return NOT_FOUND;
}

static int is_separator(const char *at)
{
	return *at == ';' || *at == '\n' || (at[0] == '&' && at[1] == '&');
}

/* Takes one word, its quotes removed in place; NULL for a quote that has no end. */
static char *take_word(char **text)
{
	char *word = *text, *to = word, *from = word;

	for (; *from && *from != ' ' && *from != '\t' && !is_separator(from); from++) {
		if (*from != '\'' && *from != '"') {
			*to++ = *from;
			continue;
		}
		for (char quote = *from++; *from != quote; )
			if (*from)
				*to++ = *from++;
			else
				return NULL;
	}
	*text = from;
	/* the caller ends the word, since its end may be the separator */
	while (to < from)
		*to++ = 0;
	return word;
}

int run_commands(char *text)
{
	char *words[MAX_WORDS + 1];
	int count, status = 0;

	while (*text && !status) {
		for (count = 0; ; ) {
			while (*text == ' ' || *text == '\t' || *text == '\r')
				*text++ = 0;
			if (!*text || is_separator(text))
				break;
			if (count == MAX_WORDS || !(words[count++] = take_word(&text))) {
				dprintf(2, "a quote without its end, or more than %d words\n",
					MAX_WORDS);
				return USAGE;
			}
		}
		while (*text && (is_separator(text) || *text == '&' || *text == ' '))
			*text++ = 0;
		words[count] = NULL;
		char **first = words;

		if (count && !strcmp(words[0], "exec"))
			first++, count--;
		if (count)
			status = run_words(first, count, !*text);
	}
	return status;
}

int serve_prompt(void)
{
	char line[1024];
	int status = 0;

	for (;;) {
		printf("guest> ");
		ssize_t n = read(0, line, sizeof line - 1);

		if (n <= 0) {
			printf("\n");
			return status;
		}
		line[n] = 0;
		if (line[n - 1] == '\n')
			line[n - 1] = 0;
		if (!strcmp(line, "exit"))
			return status;
		pid_t pid = fork();

		if (pid == 0)
			_exit(run_commands(line));
		if (pid < 0 || waitpid(pid, &status, 0) < 0)
			return failed("prompt", "fork");
		status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
		if (status)
			printf("(status %d)\n", status);
	}
}
