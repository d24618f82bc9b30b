/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What blk.c (the queue) and blk_request.c (one request) share; nobody else
 * includes this. Owner: dev.lock.
 */
#ifndef TINTYPE_BLK_IMPL_H
#define TINTYPE_BLK_IMPL_H

#include "blk.h"

/* Most requests have few buffers: their entries stand here, so that the large
 * array of a request is not even touched. */
#define FEW 4

struct blk_request {
	struct disk_request disk;
	struct virtq_chain chain;
	struct blk_request *next; /* free */
	struct blk_header header;
	uint64_t popped_ns;
	uint64_t in_bytes; /* we may write, the status aside */
	uint8_t *status;   /* the guest's */
	struct iovec few[FEW];
};

/* Begins the request whose chain is set. 0: it has ended, or the disk has it;
 * or -EPROTO: the driver has broken the queue, and the request is still the
 * caller's. */
int blk_request_start(struct blk *b, struct blk_request *r);

/* disk_request.done of all of them. */
void blk_request_done(struct disk_request *d, int result);

/* Nothing holds it any more. */
void blk_request_put(struct blk *b, struct blk_request *r);

/* Must a write be durable before it is reported? (virtio 1.2, 5.2.6.2) */
bool blk_writes_through(const struct blk *b);

#endif
