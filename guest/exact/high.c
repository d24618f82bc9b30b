/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RAM in many places, below and above 4 GiB, at the ends of each range: pages
 * are written in turns with exits, and all summed up in the end.
 */
#include "exact.h"

#define ROUNDS 160
#define PAGE   4096

static const struct boot_range *pool;
static unsigned npool;

/* The i-th place: turns through the ranges, from both their ends. */
static uint64_t *place(uint64_t i)
{
	const struct boot_range *r = &pool[i % npool];
	uint64_t n = i / npool, at = n / 2 * PAGE;

	return (uint64_t *)(n & 1 ? r->end - PAGE - at : r->start + at);
}

int guest_main(void)
{
	uint64_t hash = 0, high = 0;

	npool = mem_pool(&pool);
	for (uint64_t i = 0; i < ROUNDS; i++) {
		uint64_t *p = place(i);

		high += (uint64_t)p >= PLATFORM_GAP_END;
		p[i % 512] = fold((uint64_t)p, i);
		mark((uint64_t)p);
		mark(place(i / 2)[i / 2 % 512]);
	}
	for (uint64_t i = 0; i < ROUNDS; i++) {
		uint64_t *p = place(i);

		expect("word", p[i % 512], fold((uint64_t)p, i));
		hash = fold(hash, p[i % 512]);
	}
	expect("RAM above 4 GiB", high > 0, exact_number("high", 1));
	return exact_end("high", hash);
}
