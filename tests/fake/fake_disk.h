/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk in memory for tests (devices/disk.h): requests end at once, or when
 * and how the test says. Owner: as the disk's.
 */
#ifndef TINTYPE_FAKE_DISK_H
#define TINTYPE_FAKE_DISK_H

#include "disk.h"

#define FAKE_DISK_PENDING 512

struct fake_disk {
	struct disk disk;
	uint8_t *bytes;
	bool later; /* requests wait for fake_disk_end */
	int fail;   /* what requests end with that end by themselves */
	struct disk_request *pending[FAKE_DISK_PENDING];
	unsigned npending;
	unsigned uncommitted; /* submitted since the last commit */
	unsigned submits, commits, drains;
	unsigned ops[DISK_OPS]; /* that ended well */
	bool dirty;		/* written since the last flush */
};

void fake_disk_init(struct fake_disk *f, uint64_t bytes, bool read_only);
void fake_disk_fini(struct fake_disk *f);

/* The i-th of those that wait ends so. */
void fake_disk_end(struct fake_disk *f, unsigned i, int result);
void fake_disk_end_all(struct fake_disk *f);

#endif
