/* SPDX-License-Identifier: BSD-2-Clause */
/* System calls around files and processes. */
#pragma once
#include <sys/types.h>

#define STDIN_FILENO 0
#define STDOUT_FILENO 1
#define STDERR_FILENO 2
#define SEEK_SET 0
#define SEEK_CUR 1
#define SEEK_END 2
#define _SC_PAGESIZE 47
#define _SC_PAGE_SIZE _SC_PAGESIZE
#define _SC_NPROCESSORS_CONF 57
#define _SC_NPROCESSORS_ONLN 58
#define _SC_PHYS_PAGES 121

extern char **environ;

ssize_t read(int fd, void *buffer, size_t n);
ssize_t write(int fd, const void *buffer, size_t n);
ssize_t pread(int fd, void *buffer, size_t n, off_t at);
ssize_t pwrite(int fd, const void *buffer, size_t n, off_t at);
off_t lseek(int fd, off_t offset, int whence);
int ftruncate(int fd, off_t size);
int fsync(int fd);
void sync(void);
int close(int fd);
int dup2(int from, int to);
int pipe(int fds[2]);
int pipe2(int fds[2], int flags);
int unlink(const char *path);
int chdir(const char *path);
pid_t fork(void);
pid_t vfork(void);
int execve(const char *path, char *const argv[], char *const env[]);
int execv(const char *path, char *const argv[]);
void _exit(int status) __attribute__((noreturn));
pid_t getpid(void);
pid_t getppid(void);
uid_t getuid(void);
pid_t setsid(void);
int setpgid(pid_t pid, pid_t group);
pid_t getpgrp(void);
unsigned int alarm(unsigned int seconds);
unsigned int sleep(unsigned int seconds);
int usleep(useconds_t microseconds);
int pause(void);
long sysconf(int name);
int getpagesize(void);
int isatty(int fd);
int swapon(const char *device);
int minherit(void *at, size_t n, int inherit);
pid_t rfork(int flags);
