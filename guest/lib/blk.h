/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio-blk driver for bare guests: up to BLK_DEPTH requests on their way,
 * polled or by interrupt.
 */
#ifndef GUEST_BLK_H
#define GUEST_BLK_H

#include "virtio.h"

enum {
	BLK_IN = 0,
	BLK_OUT = 1,
	BLK_FLUSH = 4,
	BLK_GET_ID = 8,
	BLK_DISCARD = 11,
	BLK_ZERO = 13
};
enum { BLK_OK, BLK_IOERR, BLK_UNSUPP };

#define BLK_SECTOR    512
#define BLK_ID_BYTES  20
#define BLK_DEPTH     64 /* three descriptors each, in a queue of 256 */
#define BLK_RO	      (1ull << 5)
#define BLK_HAS_FLUSH (1ull << 9)

struct blk_header {
	uint32_t type, reserved;
	uint64_t sector;
};

struct blk {
	struct virtio_dev dev;
	struct virtio_queue q;
	uint64_t sectors;
	bool sleep; /* for interrupts; else it polls */
	unsigned on_way;
	/* By the request's id, its first descriptor. */
	struct blk_header header[256];
	volatile uint8_t status[256];
};

/* The n-th disk; once. NULL or what went wrong. */
const char *blk_open(struct blk *b, unsigned n, bool sleep);
/* Its id; -1: as many as there can be are on their way. bytes 0: no data. */
int blk_begin(struct blk *b, uint32_t type, uint64_t sector, void *data,
	      uint32_t bytes);
/* A request that has ended, if there is one. */
bool blk_poll(struct blk *b, unsigned *id, uint8_t *status);
void blk_wait(struct blk *b, unsigned *id, uint8_t *status);
/* One request from its beginning to its end; no other is on its way. */
uint8_t blk_do(struct blk *b, uint32_t type, uint64_t sector, void *data,
	       uint32_t bytes);
/* BLK_DISCARD or BLK_ZERO. */
uint8_t blk_clear(struct blk *b, uint32_t type, uint64_t sector,
		  uint32_t sectors);

#endif
