/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes of every kind to many pages, a few in each stretch between two exits:
 * by CPL 3 and CPL 0, across pages, by locked and by string instructions.
 */
#include "exact.h"

#define ROUNDS	120
#define PAGE	4096
#define NPAGES	256
#define A_ROUND 4

static uint8_t *base;

static uint64_t touch_cpl0(uint64_t at, uint64_t v, uint64_t c)
{
	uint64_t old = *(uint64_t *)at, n = 64;

	/* Those that hypervisors emulate: compare and exchange, strings. */
	__asm__ volatile("lock cmpxchgq %2, (%1)"
			 : "+a"(old)
			 : "r"(at), "r"(v)
			 : "memory", "cc");
	at += 4096 - 32; /* into the next page */
	__asm__ volatile("rep stosb"
			 : "+D"(at), "+c"(n)
			 : "a"((uint32_t)v)
			 : "memory");
	return 0;
}

static void touch(uint64_t r, unsigned n)
{
	uint8_t *p = base + (fold(r, n) >> 20) % (NPAGES - 2) * PAGE;

	switch (n % A_ROUND) {
	case 0:
		*(volatile uint64_t *)(p + 8) = r;
		break;
	case 1: /* across a page */
		*(volatile uint64_t *)(p + PAGE - 3) = fold(r, 1);
		break;
	case 2:
		__atomic_fetch_add((uint64_t *)(p + 64), r, __ATOMIC_SEQ_CST);
		break;
	default:
		at_cpl0(touch_cpl0, (uint64_t)p, fold(r, 2), 0);
	}
}

int guest_main(void)
{
	const struct boot_range *pool;
	uint64_t hash = 0;

	mem_pool(&pool);
	base = (uint8_t *)pool[0].start;
	for (uint64_t r = 0; r < ROUNDS; r++)
		for (unsigned n = 0; n < A_ROUND; n++) {
			touch(r, n);
			mark(r << 8 | n);
		}
	for (uint64_t i = 0; i < NPAGES * PAGE / 8; i++)
		hash = fold(hash, ((uint64_t *)base)[i]);
	return exact_end("pages", hash);
}
