/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A split virtqueue (virtio 1.2, 2.7), device side: the only code that touches
 * descriptors and rings. Everything in them is a guest's: each index and each
 * descriptor is read once, judged, and used from the copy; our own indices live
 * in the device's state and are never read back from guest memory.
 *
 * A driver that breaks the rules gets DEVICE_NEEDS_RESET (virtio_broken), and
 * the queue gives nothing more until the reset.
 *
 * Owner: whoever holds the device's lock.
 */
#ifndef TINTYPE_VIRTQ_H
#define TINTYPE_VIRTQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gmem.h"

#define VIRTQ_MAX_SIZE 1024 /* entries; a power of two */

struct virtio;

/* As it is in guest memory (virtio 1.2, 2.7.5). */
struct vring_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};
enum { VRING_DESC_NEXT = 1, VRING_DESC_WRITE = 2, VRING_DESC_INDIRECT = 4 };

struct virtq {
	struct virtio *v;
	unsigned index;
	/* The rings in our memory, while the queue is ready; else NULL. */
	const struct vring_desc *desc;
	const uint16_t *avail; /* flags, idx, ring[size], used_event */
	uint16_t *used; /* flags, idx, then 8 bytes an entry, avail_event */
};

/* A buffer of a chain, in RAM; len may be 0. */
struct virtq_desc {
	gpa_t gpa;
	uint32_t len;
	bool writable; /* by us */
	uint8_t *data; /* the guest's: read each byte once */
};

struct virtq_chain {
	struct virtq *q;
	uint16_t head;
	/* private to virtq.c */
	const struct vring_desc *table;
	uint32_t entries, next;
	unsigned steps_left;
	bool more, indirect, writing;
	struct virtq_desc part; /* what read and write have left of a buffer */
	uint32_t written;
};

/* The rings as the state has them: 0, or -EFAULT when they are not in RAM or
 * misaligned. */
int virtq_map(struct virtq *q);
void virtq_unmap(struct virtq *q);

/* The next chain that the driver offers: 1, 0 none, or -EPROTO broken. */
int virtq_pop(struct virtq *q, struct virtq_chain *c);

/* The last `n` chains popped, none of which was pushed, are offered again. */
void virtq_unpop(struct virtq *q, unsigned n);

/*
 * The next buffer: 1, 0 at the end, or -EPROTO: the chain is broken, and ended
 * for good. At most as many buffers as the queue has entries, whether in it or
 * in a table, one level of indirection; what the device reads comes before what
 * it writes.
 */
int virtq_next(struct virtq_chain *c, struct virtq_desc *d);

/* The same after virtq_read or virtq_write: what these have left of a buffer
 * comes first. */
int virtq_rest(struct virtq_chain *c, struct virtq_desc *d);

/* Copies from the readable, to the writable buffers, in order; how much there
 * was, or -EPROTO. What was not read is skipped by the first write. */
int64_t virtq_read(struct virtq_chain *c, void *buf, size_t len);
int64_t virtq_write(struct virtq_chain *c, const void *buf, size_t len);

/* We wrote that many bytes of the buffer, from its beginning: marks them. */
void virtq_wrote(struct virtq_chain *c, const struct virtq_desc *d,
		 uint32_t len);

/* Gives the chain back, with `written` bytes in its writable buffers. */
void virtq_push(struct virtq_chain *c, uint32_t written);

/* Interrupts the driver, if it wants to know of what was pushed. After a burst,
 * not after each push. */
void virtq_interrupt(struct virtq *q);

/* Asks for a kick when the driver offers more. True: it has done so meanwhile,
 * go on popping. */
bool virtq_enable_kicks(struct virtq *q);

/* Does the driver offer something that was not popped yet? Asks for no kick. */
bool virtq_offers(const struct virtq *q);

/*
 * The same for a thread that does not hold the lock, for as long as the machine
 * lives: looks at RAM only. What was ready when it was made may be reset
 * meanwhile, so that "true" means no more than to look again with the lock.
 */
struct virtq_watch {
	const uint16_t *idx;
	uint16_t seen;
};
struct virtq_watch virtq_watch(const struct virtq *q);
bool virtq_watch_offers(const struct virtq_watch *w);

#endif
