/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power cuts for a few files: what was written since a file's last completed
 * sync is kept as sectors of 512 bytes, each with the content that the page
 * cache had then. At any moment the states can be made in which a disk might
 * be found: each write there or not, whole or in part, the file's size changed
 * or not. dm-log-writes' rule: a sync makes durable what was written before.
 */
#ifndef TINTYPE_POWERCUT_H
#define TINTYPE_POWERCUT_H

#include "wrap.h"

#define SECTOR_BYTES 512
#define CUT_FILES    2

struct cut_op {
	unsigned file;
	uint64_t sector, count;
	uint8_t *data;	     /* NULL: zeroes */
	uint64_t size_after; /* UINT64_MAX: it has not changed */
};

struct cut_file {
	int fd;
	uint8_t *durable; /* `room` bytes, of which `bytes` are the file's */
	uint64_t bytes, room;
};

struct powercut {
	struct cut_file file[CUT_FILES], state;
	unsigned files;
	struct cut_op *op;
	size_t nops, room;
	uint64_t rng;
	unsigned random_states; /* of each kind, at each moment */
};

/* What the file holds now is durable from here on. */
void powercut_add(struct powercut *p, int fd);
void powercut_fini(struct powercut *p);

/* Takes a call that is about to be made with this fate; a sync is taken when it
 * has completed. */
void powercut_take(struct powercut *p, const struct io_call *c,
		   const struct io_fate *fate);

/* Puts one state after another in `fd` (one each file) and calls `fn`. Returns
 * how many. */
uint64_t powercut_each(struct powercut *p, const int fd[CUT_FILES],
		       void (*fn)(void *ctx, const int fd[CUT_FILES]),
		       void *ctx);

#endif
