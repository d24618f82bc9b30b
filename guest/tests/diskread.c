/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random reads of 4 KiB by a polled driver, for tests and for
 * scripts/bench_disk:
 *
 *   depth=N  outstanding (32)      count=N  requests to measure (100000)
 *   bytes=N  a request (4096)      warm=N   requests before those (2000)
 *
 * Prints one line in the end: requests, cycles, kHz, kicks, errors.
 */
#include "blk.h"

#define MAX_BYTES 65536

static struct blk disk;
static uint64_t slots, sectors_a_slot, seed = 1;
static uint32_t bytes;
static char *buffer_of[256]; /* by the request's id */

static uint64_t number(const char *word, uint64_t otherwise)
{
	char text[24];
	uint64_t v;

	if (!boot_option(word, text, sizeof(text)))
		return otherwise;
	if (!parse_u64(text, &v) || !v)
		guest_panic("diskread: not a number");
	return v;
}

static void begin(char *buffer)
{
	int id;

	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	id = blk_begin(&disk, BLK_IN, (seed >> 16) % slots * sectors_a_slot,
		       buffer, bytes);
	if (id < 0)
		guest_panic("diskread: no room in the queue");
	buffer_of[id] = buffer;
}

/* `count` requests, all but the last ones replaced as they end: how many
 * failed. */
static uint64_t read_some(uint64_t count)
{
	uint64_t failed = 0;
	uint8_t status;
	unsigned id;

	for (uint64_t n = 0; n < count; n++) {
		blk_wait(&disk, &id, &status);
		failed += status != BLK_OK;
		begin(buffer_of[id]);
	}
	return failed;
}

static void set_up(uint64_t depth)
{
	const char *why = blk_open(&disk, 0, false);
	const struct boot_range *pool;
	char *buffer;

	if (why) {
		print("diskread: the disk %s\n", why);
		guest_exit(1);
	}
	sectors_a_slot = bytes / BLK_SECTOR;
	slots = disk.sectors / sectors_a_slot;
	if (!mem_pool(&pool) || !slots ||
	    pool->end - pool->start < depth * bytes)
		guest_panic("diskread: too little memory or disk");
	buffer = (char *)pool->start;
	memset(buffer, 1, depth * bytes);
	for (uint64_t i = 0; i < depth; i++)
		begin(buffer + i * bytes);
}

int guest_main(void)
{
	uint64_t depth = number("depth", 32), count = number("count", 100000);
	uint64_t warm = number("warm", 2000), kicks, start, cycles, failed;

	bytes = (uint32_t)number("bytes", 4096);
	if (depth > BLK_DEPTH || bytes > MAX_BYTES || bytes % BLK_SECTOR)
		guest_panic("diskread: depth or bytes out of range");
	set_up(depth);
	failed = read_some(warm);
	kicks = disk.q.kicks;
	start = clock_tsc();
	failed += read_some(count);
	cycles = clock_tsc() - start;
	print("diskread: %lu requests, %lu cycles, %lu kHz, %lu kicks, "
	      "%lu failed\n",
	      count, cycles, clock_tsc_khz(), disk.q.kicks - kicks, failed);
	return failed ? 1 : 0;
}
