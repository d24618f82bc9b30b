/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk as a device sees it: whoever makes the device gives it one of these.
 * Where the bytes are, and by which calls they come, is the maker's business.
 *
 * Requests run side by side and end in any order. Two that overlap while both
 * are on their way may be taken in either order, block by block; a flush covers
 * what had ended before it was submitted.
 *
 * Owner: the I/O thread, with disk.lock held, for submit, commit and drain.
 * `done` and `idle` are called the same way, from within these functions too.
 */
#ifndef TINTYPE_DISK_H
#define TINTYPE_DISK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define DISK_SECTOR_BYTES 512

enum disk_op {
	DISK_READ,
	DISK_WRITE,
	DISK_FLUSH,   /* what was written is durable: a power cut loses none */
	DISK_DISCARD, /* reads as zero then */
	DISK_ZEROES,  /* the same; the space may be kept */
	DISK_OPS
};

struct disk_request {
	enum disk_op op;
	/* Whole sectors within the disk; of iov: as many bytes together. */
	uint64_t offset, bytes;
	/* Guest memory, which may change at any time; the caller's until
	 * `done`. READ and WRITE. */
	struct iovec *iov;
	unsigned niov;
	/* 0 or -errno; what is cut short is no 0. Of a failed read or write any
	 * part may be there. The request may be freed or used anew in it:
	 * submitted and committed, even while the disk drains. */
	void (*done)(struct disk_request *r, int result);
	void *owner;		   /* the caller's */
	struct disk_request *next; /* the disk's while it is on its way */
};

struct disk;

struct disk_ops {
	/* Takes the request; what it needs of the kernel may wait for commit.
	 */
	void (*submit)(struct disk *d, struct disk_request *r);
	/* The burst is over: all that was submitted is on its way. */
	void (*commit)(struct disk *d);
	/* Waits until nothing is on its way. */
	void (*drain)(struct disk *d);
};

struct disk {
	const struct disk_ops *ops;
	uint64_t bytes; /* a multiple of the sector */
	bool read_only;
	/* From here on the device's, which fills it in. */
	pthread_mutex_t *lock; /* the device's */
	/* Some requests have ended by themselves and no more for now: the
	 * device may interrupt. */
	void (*idle)(struct disk *d);
	void *owner; /* the device */
};

#endif
