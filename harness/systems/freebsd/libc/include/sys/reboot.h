/* SPDX-License-Identifier: BSD-2-Clause */
/* reboot(2). */
#pragma once
#define RB_AUTOBOOT 0
#define RB_NOSYNC 0x4
#define RB_HALT 0x8
#define RB_POWEROFF 0x4000

int reboot(int how);
