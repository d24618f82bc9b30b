/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk with many requests on their way: sectors are written with what
 * their number gives, flushed, read back and compared; polled.
 */
#include "blk.h"
#include "exact.h"

#define ROUNDS	3
#define SLOTS	24 /* requests at once */
#define SECTORS 8
#define BYTES	(SECTORS * BLK_SECTOR)

static struct blk disk GUEST_VOLATILE;
static uint64_t data[SLOTS][BYTES / 8] __attribute__((aligned(4096)));
static uint64_t slot_of[256] GUEST_VOLATILE;

static uint64_t word(uint64_t slot, uint64_t round, unsigned i)
{
	return fold(slot * 1000 + i, round);
}

static void begin(uint32_t type, uint64_t slot)
{
	int id = blk_begin(&disk, type, slot * SECTORS, data[slot], BYTES);

	if (id < 0)
		guest_panic("blk: no room");
	slot_of[id] = slot;
	mark(slot);
}

static void finish(unsigned n)
{
	uint8_t status;
	unsigned id;

	for (; n; n--) {
		while (!blk_poll(&disk, &id, &status))
			cpu_relax();
		expect("status", status, BLK_OK);
		mark(n);
	}
}

static uint64_t check(uint64_t round)
{
	uint64_t hash = 0;

	for (uint64_t s = 0; s < SLOTS; s++)
		for (unsigned i = 0; i < BYTES / 8; i++) {
			expect("word", data[s][i], word(s, round, i));
			hash = fold(hash, data[s][i]);
		}
	return hash;
}

int guest_main(void)
{
	const char *why = blk_open(&disk, 0, false);
	uint64_t hash = 0;

	if (why) {
		print("blk: %s\n", why);
		return 1;
	}
	for (uint64_t r = 0; r < ROUNDS; r++) {
		for (uint64_t s = 0; s < SLOTS; s++) {
			for (unsigned i = 0; i < BYTES / 8; i++)
				data[s][i] = word(s, r, i);
			begin(BLK_OUT, s);
		}
		finish(SLOTS);
		if (r & 1)
			expect("flush", blk_do(&disk, BLK_FLUSH, 0, NULL, 0),
			       BLK_OK);
		memset(data, 0, sizeof(data));
		for (uint64_t s = 0; s < SLOTS; s++)
			begin(BLK_IN, s);
		finish(SLOTS);
		hash = fold(hash, check(r));
	}
	return exact_end("blk", hash);
}
