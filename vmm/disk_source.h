/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file or block device that a disk is or lies on: opened, judged, locked.
 *
 * Locks (OFD): a disk that is written through has it for
 * itself; bases and read-only disks share it. So no two VMs write one file, and
 * none writes what another reads. The lock has an open file of its own, which
 * the kernel closes when the process ends: one that is registered with an
 * io_uring lives on for a while, but by then nothing is on its way any more.
 *
 * Owner: any thread, before the sandbox is closed. Errors: -errno with `why`
 * about the path.
 */
#ifndef TINTYPE_DISK_SOURCE_H
#define TINTYPE_DISK_SOURCE_H

#include "config.h"

struct disk_source {
	int fd;
	int lock;    /* the same file, opened once more */
	bool device; /* a block device */
	uint64_t bytes;
	uint64_t dev, ino; /* of a device: rdev and 0 */
	uint64_t mtime_ns; /* of a device: 0 */
};

/* For writing if the disk is direct. A qcow2 file may have any size: what is in
 * it is judged by the import. */
int disk_source_open(struct disk_source *s, const struct disk_config *c,
		     struct fail *why);

void disk_source_close(struct disk_source *s);

/* For the VM `self`; claims a device that is written to. What `s` says of the
 * file is of this moment then. EXIT_CONFLICT with who has it, where that can be
 * known. */
int disk_source_lock(struct disk_source *s, const struct disk_config *c,
		     const char *self, struct fail *why);

/* A size that a disk can have. */
int disk_bytes_judge(uint64_t bytes, const char *object, struct fail *why);

#endif
