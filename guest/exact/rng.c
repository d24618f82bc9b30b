/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-rng: many small requests, several on their way; each is filled, and
 * never twice with the same bytes.
 */
#include "exact.h"
#include "virtio.h"

#define REQUESTS 80
#define WINDOW	 4
#define BYTES	 32

static struct virtio_dev dev;
static struct virtio_queue q;
static uint8_t data[WINDOW][BYTES] GUEST_VOLATILE;
static uint8_t last[BYTES] GUEST_VOLATILE;
static unsigned slot_of[256];

static void offer(unsigned slot)
{
	struct virtio_buf b = { data[slot], BYTES, true };
	int id;

	memset(data[slot], 0, BYTES);
	id = virtio_offer(&q, &b, 1);
	if (id < 0)
		guest_panic("rng: no room");
	slot_of[id] = slot;
	mark(slot);
}

int guest_main(void)
{
	const char *why;
	uint32_t written;
	unsigned id;

	if (!virtio_find(VIRTIO_ID_RNG, 0, &dev))
		return 1;
	why = virtio_begin(&dev, 0);
	if (!why)
		why = virtio_queue(&dev, 0, 16, &q);
	if (why)
		guest_panic(why);
	virtio_go(&dev);
	for (unsigned i = 0; i < WINDOW; i++)
		offer(i);
	for (unsigned i = 0; i < REQUESTS; i++) {
		while (!virtio_take(&q, &id, &written))
			cpu_relax();
		expect("bytes", written, BYTES);
		expect("the same again",
		       !memcmp(data[slot_of[id]], last, BYTES), 0);
		memcpy(last, data[slot_of[id]], BYTES);
		if (i < REQUESTS - WINDOW)
			offer(slot_of[id]);
	}
	return exact_end("rng", REQUESTS);
}
