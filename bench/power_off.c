/* SPDX-License-Identifier: BSD-2-Clause */
/* The smallest init there is: powers off at once. The baseline of bench/boot.py. */
#include <sys/reboot.h>

int main(void)
{
	return reboot(RB_POWER_OFF);
}
