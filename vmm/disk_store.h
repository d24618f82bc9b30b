/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disks that a VM can have (devices/disk.h), over the files of the host:
 *
 *   raw    a file or block device itself: written through, or read-only
 *   head   a copy-on-write head (snapshot/head.h) over what is never changed
 *
 * Owner: the I/O thread, as disk.h has it. Fds are borrowed; the engine's
 * config names them all.
 */
#ifndef TINTYPE_DISK_STORE_H
#define TINTYPE_DISK_STORE_H

#include "disk.h"
#include "disk_io.h"
#include "head.h"

struct disk_store_config {
	const char *name; /* for messages; outlives the disk */
	struct loop *loop;
	struct disk_io *io;
	unsigned disks; /* that share the engine: each gets its part of it */
	/* Heads below a head are durable, as they must be before it has a
	 * commit: 0, or -errno, which the flush gets. Called before each; NULL:
	 * there are none. */
	int (*settle)(void *ctx);
	void *settle_ctx;
};

/* At most so many share one engine. */
#define DISK_STORES_MAX 16

/* NULL: no memory. */
struct disk *disk_raw_create(const struct disk_store_config *c, int fd,
			     uint64_t bytes, bool read_only);
/* `h`: open, writable; taken over also when that fails. Its fd and that of the
 * raw file below are the engine's. */
struct disk *disk_head_create(const struct disk_store_config *c,
			      struct head *h);

/* Another head: memory only, while nothing is on its way. The old one is the
 * caller's. Flushes wait for disk_head_release, or, when the disk is drained,
 * for `settle`. */
void disk_head_swap(struct disk *d, struct head *h);
void disk_head_release(struct disk *d); /* on the loop */

/* As the device has gone: what was written is made durable, however long that
 * takes. 0 or -errno. */
int disk_flush_last(struct disk *d);

/* Nothing is on its way (drain). NULL does nothing. */
void disk_destroy(struct disk *d);

#endif
