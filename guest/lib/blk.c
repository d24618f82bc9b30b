/* SPDX-License-Identifier: Apache-2.0 */
/* The driver's side of virtio-blk (virtio 1.2, 5.2). */
#include "blk.h"

#define CONFIG 0x100
#define QUEUE  256
/* RO, FLUSH, DISCARD, WRITE_ZEROES */
#define WANTED (BLK_RO | BLK_HAS_FLUSH | 1ull << 13 | 1ull << 14)

const char *blk_open(struct blk *b, unsigned n, bool sleep)
{
	const char *why;

	memset(b, 0, sizeof(*b));
	b->sleep = sleep;
	if (!virtio_find(VIRTIO_ID_BLK, n, &b->dev))
		return "is not there";
	if ((why = virtio_begin(&b->dev, VIRTIO_EVENT_IDX | WANTED)) ||
	    (why = virtio_queue(&b->dev, 0, QUEUE, &b->q)))
		return why;
	b->sectors = virtio_get(&b->dev, CONFIG) |
		     (uint64_t)virtio_get(&b->dev, CONFIG + 4) << 32;
	if (sleep)
		virtio_listen(&b->q, VECTOR_VIRTIO);
	virtio_go(&b->dev);
	return NULL;
}

int blk_begin(struct blk *b, uint32_t type, uint64_t sector, void *data,
	      uint32_t bytes)
{
	unsigned id = b->q.free; /* what virtio_offer will take */
	struct virtio_buf buf[3] = {
		{ &b->header[id], sizeof(b->header[id]), false },
		{ data, bytes, type == BLK_IN || type == BLK_GET_ID },
	};
	unsigned n = bytes ? 2 : 1;

	if (b->q.nfree < 3)
		return -1;
	b->header[id] = (struct blk_header){ type, 0, sector };
	b->status[id] = 0xff;
	buf[n++] = (struct virtio_buf){ (void *)&b->status[id], 1, true };
	b->on_way++;
	return virtio_offer(&b->q, buf, n);
}

bool blk_poll(struct blk *b, unsigned *id, uint8_t *status)
{
	uint32_t written;

	if (!virtio_take(&b->q, id, &written))
		return false;
	*status = b->status[*id];
	b->on_way--;
	return true;
}

void blk_wait(struct blk *b, unsigned *id, uint8_t *status)
{
	for (;;) {
		uint64_t seen = b->q.interrupts;

		if (blk_poll(b, id, status))
			return;
		if (b->sleep)
			irq_wait_change(&b->q.interrupts, seen);
		else
			cpu_relax();
	}
}

uint8_t blk_do(struct blk *b, uint32_t type, uint64_t sector, void *data,
	       uint32_t bytes)
{
	uint8_t status;
	unsigned id;

	if (blk_begin(b, type, sector, data, bytes) < 0)
		guest_panic("blk: no room in an empty queue");
	blk_wait(b, &id, &status);
	return status;
}

uint8_t blk_clear(struct blk *b, uint32_t type, uint64_t sector,
		  uint32_t sectors)
{
	struct {
		uint64_t sector;
		uint32_t sectors, flags;
	} range = { sector, sectors, 0 };

	return blk_do(b, type, 0, &range, sizeof(range));
}
