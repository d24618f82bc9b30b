/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One io_uring, by its three system calls: made disabled, told which files it
 * may touch and which few operations it may do, and only then enabled. What it
 * does passes seccomp by, so these limits are its sandbox; they hold for good.
 *
 *   uring_create -> { uring_read.. -> uring_submit -> uring_reap }
 *
 * At most `entries` operations are on their way, and there is room for the end
 * of each: nothing is lost, nothing grows.
 *
 * Owner: one thread, for all of this, but uring_set_file. Errors: -errno.
 */
#ifndef TINTYPE_URING_H
#define TINTYPE_URING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct uring;

/* An operation on its way; the caller's, until `done`. */
struct uring_op {
	/* Bytes, 0 or -errno, as the system call of that name returns. */
	void (*done)(struct uring_op *op, int result);
};

struct uring_config {
	unsigned entries; /* a power of two, at most 4096 */
	const int *fds;	  /* the files, by their index from here on */
	unsigned nfds;
	unsigned spare; /* places for files that come later */
};

/* 0, or -errno: -ENOSYS, -EPERM where the kernel refuses it to us. Before the
 * sandbox is closed. */
int uring_create(struct uring **out, const struct uring_config *c);
/* Nothing is on its way. */
void uring_destroy(struct uring *u);

/* A place gets another file, or none (-1); the ring lets go of the one that was
 * there. No operation on it is queued or on its way. Any thread. */
int uring_set_file(const struct uring *u, unsigned file, int fd);

/* An eventfd that is written to each time that something has ended. */
int uring_event_fd(const struct uring *u);

/* Queues one. `iov`, and what it shows to, stays until it is done. -EBUSY when
 * as many as can be are on their way. */
int uring_read(struct uring *u, struct uring_op *op, unsigned file,
	       const struct iovec *iov, unsigned niov, uint64_t offset);
int uring_write(struct uring *u, struct uring_op *op, unsigned file,
		const struct iovec *iov, unsigned niov, uint64_t offset);
int uring_datasync(struct uring *u, struct uring_op *op, unsigned file);
int uring_allocate(struct uring *u, struct uring_op *op, unsigned file,
		   int mode, uint64_t offset, uint64_t bytes);

unsigned uring_in_flight(const struct uring *u); /* queued ones too */

/* Hands what is queued to the kernel; `wait`: and sleeps until something has
 * ended. -EAGAIN, -EBUSY: the kernel is short of memory; what is queued stays
 * so. */
int uring_submit(struct uring *u, bool wait);

/* Calls `done` of what has ended; how many that were. An operation that is
 * queued in `done` is no part of it. */
unsigned uring_reap(struct uring *u);

#endif
