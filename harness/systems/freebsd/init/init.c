/* SPDX-License-Identifier: BSD-2-Clause */
/* init of the FreeBSD micro-guest: serves the control channel; what EXEC runs is in commands.c. */
#include <errno.h>
#include <fcntl.h>
#include <kenv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <termios.h>
#include <unistd.h>

#include "agent.h"
#include "commands.h"

static int open_terminal(int *inside)
{
	char name[64] = "/dev/";
	struct {
		int length;
		char *name;
	} question = { sizeof name - 5, name + 5 };
	int outside = posix_openpt(O_RDWR | O_NOCTTY);

	/* FIODGNAME of sys/sys/filio.h */
	if (outside < 0 || ioctl(outside, IOC_REQUEST(0x80000000u, 'f', 120, sizeof question),
				 &question))
		return -1;
	*inside = open(name, O_RDWR);
	return *inside < 0 ? -1 : outside;
}

static void power_off(void)
{
	reboot(RB_POWEROFF | RB_NOSYNC);
}

static const struct agent_system freebsd_system = {
	.open_terminal = open_terminal, .run_commands = run_commands, .power_off = power_off,
};

/* The kernel mounts every root for reading only (sys/kern/vfs_mountroot.c, parse_mount()). */
static void make_root_writable(void)
{
	struct iovec options[] = { { "fstype", 7 }, { "ufs", 4 }, { "fspath", 7 }, { "/", 2 },
				  { "rw", 3 }, { NULL, 0 } };

	if (nmount(options, sizeof options / sizeof options[0], MNT_UPDATE))
		printf("init: the root stays read-only: %s\n", strerror(errno));
}

static int open_channel(const char *device)
{
	struct termios t;
	int fd = open(device, O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd < 0 || tcgetattr(fd, &t))
		return -1;
	t.c_iflag = t.c_oflag = t.c_lflag = 0;
	t.c_cflag = CS8 | CREAD | CLOCAL;
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	t.c_ispeed = t.c_ospeed = 115200;
	return tcsetattr(fd, TCSANOW, &t) ? -1 : fd;
}

int main(int argc, char **argv)
{
	char device[64] = "/dev/cuau1";
	int channel;

	(void)argc;
	(void)argv;
	open_console();
	make_root_writable();
	kenv(KENV_GET, "harness_channel", device, sizeof device);
	channel = open_channel(device);
	if (channel >= 0)
		serve(channel, &freebsd_system);
	printf("init: control channel %s: %s\n", device, strerror(errno));
	tcdrain(1);
	return 1;	/* the kernel panics: a void boot with its reason on the console */
}
