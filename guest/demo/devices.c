/* SPDX-License-Identifier: Apache-2.0 */
/* Commands on virtio devices. */
#include "demo.h"
#include "virtio.h"

#define RNG_BYTES 64
#define RNG_MAX	  (1u << 20)

static bool fails(const char *who, const char *why)
{
	if (why)
		print("%s: the device %s\n", who, why);
	return why;
}

/* The rng device, set up once: queues stay ready until a reset. */
static struct virtio_queue *rng_queue(void)
{
	static struct virtio_dev d;
	static struct virtio_queue q;

	if (q.ring)
		return &q;
	if (!virtio_find(VIRTIO_ID_RNG, 0, &d)) {
		print("rng: there is none; run with --rng\n");
		return NULL;
	}
	if (fails("rng", virtio_begin(&d, VIRTIO_EVENT_IDX)) ||
	    fails("rng", virtio_queue(&d, 0, 8, &q)))
		return NULL;
	virtio_listen(&q, VECTOR_VIRTIO);
	virtio_go(&d);
	return &q;
}

/* Fills `data`: how many bytes came, by one request. */
static uint32_t rng_fill(struct virtio_queue *q, uint8_t *data, uint32_t len)
{
	struct virtio_buf buf = { data, len, true };
	uint32_t written;
	unsigned id;

	if (virtio_offer(q, &buf, 1) < 0)
		guest_panic("rng: no room in an empty queue");
	virtio_wait(q, &id, &written);
	return written;
}

/* Random bytes have each bit set about half of the time; 64 bytes that are far
 * from it, or the same as before, are none. */
static bool looks_random(const uint8_t *data, const uint8_t *before)
{
	unsigned ones = 0;

	for (unsigned i = 0; i < RNG_BYTES * 8; i++)
		ones += data[i / 8] >> i % 8 & 1;
	return ones > 160 && ones < 352 && memcmp(data, before, RNG_BYTES);
}

static int cmd_rng(unsigned argc, char **argv)
{
	uint8_t data[RNG_BYTES], before[RNG_BYTES] = { 0 };
	struct virtio_queue *q = rng_queue();
	uint64_t bytes, done = 0;

	if (!demo_number(argc, argv, 1, RNG_MAX, RNG_BYTES, &bytes))
		return DEMO_USAGE;
	if (!q)
		return DEMO_FAILED;
	while (done < bytes) {
		uint32_t got = 0;

		memcpy(before, data, RNG_BYTES);
		while (got < RNG_BYTES)
			got += rng_fill(q, data + got, RNG_BYTES - got);
		if (!looks_random(data, before)) {
			print("rng: not random after %lu bytes\n", done);
			return DEMO_FAILED;
		}
		done += RNG_BYTES;
	}
	print("rng: %lu random bytes, the last ones ", done);
	for (unsigned i = 0; i < 8; i++)
		print("%02x", data[i]);
	print("\n");
	return 0;
}

const struct command device_commands[] = {
	{ "rng", "[BYTES]", "take random bytes from the virtio-rng", cmd_rng, 0,
	  1, true },
	{ NULL, NULL, NULL, NULL, 0, 0, false },
};
