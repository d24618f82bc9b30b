/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-mmio drivers for bare guests (virtio 1.2): one split queue after the
 * other, polled or by interrupt. All of it at CPL 3 but for the registers.
 */
#ifndef GUEST_VIRTIO_H
#define GUEST_VIRTIO_H

#include "guest.h"

enum {
	VIRTIO_ID_NET = 1,
	VIRTIO_ID_BLK,
	VIRTIO_ID_CONSOLE,
	VIRTIO_ID_RNG,
	VIRTIO_ID_BALLOON,
	VIRTIO_ID_VSOCK = 19
};

#define VIRTIO_EVENT_IDX (1ull << 29)
#define VIRTIO_VERSION_1 (1ull << 32)

struct virtio_dev {
	uint64_t base; /* its window */
	unsigned gsi;
	uint32_t id;
	uint64_t features; /* that were agreed on */
};

/* The n-th device of that kind in the windows of platform.h; or where another
 * VMM has them, beside which we are measured. */
bool virtio_find(uint32_t id, unsigned n, struct virtio_dev *d);
uint32_t virtio_get(const struct virtio_dev *d, unsigned reg);
void virtio_set(const struct virtio_dev *d, unsigned reg, uint32_t v);
/* Resets it and agrees on VERSION_1 and those of `wanted` that it offers; NULL
 * or what it would not do. */
const char *virtio_begin(struct virtio_dev *d, uint64_t wanted);
/* After the queues: the device may go on. */
void virtio_go(struct virtio_dev *d);

/* One buffer of a request. */
struct virtio_buf {
	void *data;
	uint32_t len;
	bool in; /* the device writes it */
};

struct virtio_queue {
	struct virtio_dev *dev;
	unsigned index;
	uint16_t size;
	uint16_t free; /* first free descriptor */
	uint16_t nfree;
	uint16_t next_avail, seen_used;
	uint64_t kicks;
	struct virtio_ring *ring;
	bool listens; /* wants interrupts */
	volatile uint64_t interrupts;
};

/* Sets queue `index` up, at most `size` entries (a power of two up to 256).
 * NULL or what went wrong. */
const char *virtio_queue(struct virtio_dev *d, unsigned index, uint16_t size,
			 struct virtio_queue *q);
/* Offers a request; its id, or -1: no room. Kicks unless the device looks. */
int virtio_offer(struct virtio_queue *q, const struct virtio_buf *bufs,
		 unsigned n);
/* Has the device taken all that was offered? It asks for a kick then
 * (VIRTIO_EVENT_IDX). */
bool virtio_all_taken(const struct virtio_queue *q);
/* A finished request, if there is one: its id and the bytes written. */
bool virtio_take(struct virtio_queue *q, unsigned *id, uint32_t *written);
/* Is there one? */
bool virtio_ready(const struct virtio_queue *q);
/* Have interrupts of the device counted in the queue from now on, and sleep
 * until a request is finished. */
void virtio_listen(struct virtio_queue *q, unsigned vector);
void virtio_wait(struct virtio_queue *q, unsigned *id, uint32_t *written);

#endif
