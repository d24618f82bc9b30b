/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a disk, for disk_store.c and its two layouts. A request is
 * carried out by a job, part by part; a layout says what the next part is and
 * hears when it is over.
 */
#ifndef TINTYPE_DISK_IMPL_H
#define TINTYPE_DISK_IMPL_H

#include "disk_store.h"

enum part_kind {
	PART_MOVE,     /* between guest memory and `at` of the file */
	PART_FILL,     /* guest memory gets zeroes */
	PART_COPY,     /* guest memory gets the bounce's bytes from `inside` */
	PART_MERGE,    /* the block's old bytes and the new ones go to `at` */
	PART_ALLOCATE, /* `allocate`, at `at` of the file */
	PART_DONE,     /* was done when it was asked for */
};

struct part {
	enum part_kind kind;
	uint64_t bytes; /* of the request */
	uint64_t moved; /* of the present step */
	int fd;
	uint64_t at;
	unsigned inside; /* COPY, MERGE: where in the block */
	/* MERGE: what is to be read first; 0 bytes: the bounce has it all. */
	int old_fd;
	uint64_t old_at, old_bytes;
	enum disk_io_kind allocate;
};

enum job_stage { JOB_NEXT, JOB_MOVE, JOB_OLD, JOB_WHOLE, JOB_ALLOCATE };

struct job {
	struct disk_io_op op;
	struct disk_store *store;
	struct disk_request *r;
	struct job *next, **link; /* of free, active; `ready` has its own */
	struct job *next_ready;
	enum job_stage stage;
	bool begun; /* a part that the layout wants to hear the end of */
	bool in_ring;
	uint64_t done; /* bytes of the request */
	unsigned iov;  /* where in r->iov that is */
	size_t iov_at;
	struct part part;
	struct head_write write; /* the head's */
	uint8_t *bounce;	 /* a block */
};

static inline bool job_writes(const struct disk_request *r)
{
	return r->op != DISK_READ && r->op != DISK_FLUSH;
}

static inline bool job_zeroes(const struct disk_request *r)
{
	return r->op == DISK_DISCARD || r->op == DISK_ZEROES;
}

struct disk_layout {
	/* Requests that share a block are taken one after the other, unless
	 * both read, and a flush begins when no write is on its way. */
	bool ordered;
	/* Says what comes next at r->offset + done. 0 or -errno. */
	int (*part)(struct job *j);
	/* That part is over; 0 or -errno, which counts if `err` is 0. -EAGAIN:
	 * ask for another part, at the same place. */
	int (*part_end)(struct job *j, int err);
	/* As head_flush_step. */
	int (*flush_step)(struct disk_store *s, int result);
	void (*destroy)(struct disk_store *s);
};

struct request_list {
	struct disk_request *first, **last;
};

struct disk_store {
	struct disk disk;
	const char *name;
	unsigned told; /* failures that were logged */
	struct disk_io_user user;
	const struct disk_layout *layout;
	struct disk_io *io;
	struct loop *loop;
	struct loop_task task; /* runs what is ready */
	unsigned njobs, used, writing, in_ring;
	struct job *jobs, *free, *active;
	struct job *ready, **ready_last;
	uint8_t *bounces;
	/* In the order in which they came. */
	struct request_list waiting, flushes, flushing;
	struct disk_io_op sync;
	bool flush_runs, pumping, draining;
	/* No flush begins: somebody else makes durable what it relies on, which
	 * `settle` waits for, or does. */
	bool flush_held;
	int (*settle)(void *ctx);
	void *settle_ctx;
	/* The layouts'. */
	int fd;
	struct head *head;
	bool no_punch, no_zero, syncing;
	int failed;
};

/* `bytes` long; ready but for what is the layout's. NULL: no memory. */
struct disk_store *disk_store_create(const struct disk_store_config *c,
				     const struct disk_layout *l,
				     uint64_t bytes);

struct disk_store *disk_store_of(struct disk *d);
bool disk_store_is_busy(const struct disk_store *s);
/* The flushes that were held begin. On the loop, the lock not held. */
void disk_store_release(struct disk_store *s);

/* Goes on after an operation that has ended with `n` (a new job: 0): its
 * result, or DISK_IO_PENDING when it has another on its way or gave way. */
int job_go_on(struct job *j, int n);

#endif
