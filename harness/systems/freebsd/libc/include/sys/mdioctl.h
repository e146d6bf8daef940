/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory disks (md(4), sys/sys/mdioctl.h). */
#pragma once
#include <sys/ioctl.h>

enum md_types { MD_MALLOC, MD_PRELOAD, MD_VNODE, MD_SWAP, MD_NULL };

struct md_ioctl {
	unsigned md_version, md_unit;
	enum md_types md_type;
	char *md_file;
	off_t md_mediasize;
	unsigned md_sectorsize, md_options;
	uint64_t md_base;
	int md_fwheads, md_fwsectors;
	char *md_label;
	int md_pad[96];
};

#define MDIOVERSION 0
#define MDIOCATTACH _IOWR('m', 0, struct md_ioctl)
#define MDIOCDETACH _IOWR('m', 1, struct md_ioctl)
#define MD_CLUSTER 0x01
#define MD_RESERVE 0x02
#define MD_AUTOUNIT 0x04
#define MD_COMPRESS 0x10
