/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MMIO without a device, of every width, within a page and across two: one
 * that crosses gives two exits, and stops half way in between.
 */
#include "exact.h"

#define ROUNDS 20
#define HOLE   0xd8001000ull
#define VALUE  0x1122334455667788

static uint64_t add_mem(uint64_t addr, uint64_t v, uint64_t c)
{
	__asm__ volatile("addq %1, (%0)" ::"r"(addr), "r"(v) : "memory", "cc");
	return 0;
}

int guest_main(void)
{
	uint64_t hash = 0, v;

	mem_map(HOLE - 4096, 8192);
	for (unsigned i = 0; i < ROUNDS; i++) {
		for (unsigned n = 1; n <= 8; n *= 2) {
			mmio_write(HOLE - n / 2, n, VALUE + i);
			v = mmio_read(HOLE - n / 2, n);
			expect("hole", v, UINT64_MAX >> (64 - 8 * n));
			hash = fold(hash, v);
		}
		for (unsigned n = 1; n < 8; n += 3)
			mmio_write(HOLE - n, 8, VALUE + i);
		/* read, change, write: three or four exits in one */
		at_cpl0(add_mem, HOLE - 3, i, 0);
		v = *(volatile uint64_t *)(HOLE - 5); /* at CPL 3 */
		expect("hole, CPL 3", v, UINT64_MAX);
		mark(v + i);
	}
	return exact_end("crossing", hash);
}
