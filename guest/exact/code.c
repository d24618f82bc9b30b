/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Code that is written while the program runs: a function is made in a page,
 * called, changed after exits, in place and across two pages, and called again.
 */
#include "exact.h"

#define ROUNDS 200

static uint8_t room[2 * 4096] __attribute__((aligned(4096)));

/* mov $n, %eax; add %edi, %eax; ret */
static uint64_t make(uint8_t *at, uint32_t n)
{
	at[0] = 0xb8;
	memcpy(at + 1, &n, 4);
	at[5] = 0x01;
	at[6] = 0xf8;
	at[7] = 0xc3;
	return (uint64_t)at;
}

static uint64_t call(uint64_t at, uint64_t arg)
{
	uint32_t (*fn)(uint32_t) = (uint32_t(*)(uint32_t))at;

	__asm__ volatile("" ::: "memory");
	return fn((uint32_t)arg);
}

static uint64_t call_cpl0(uint64_t at, uint64_t arg, uint64_t c)
{
	return call(at, arg);
}

int guest_main(void)
{
	uint64_t hash = 0, fn, v;

	for (uint32_t i = 0; i < ROUNDS; i++) {
		fn = make(room + 4096 - i % 9, fold(i, 1) & 0xffffff);
		mark(i);
		v = call(fn, i);
		expect("sum", v, (fold(i, 1) & 0xffffff) + i);
		mark(v);
		expect("sum, CPL 0", at_cpl0(call_cpl0, fn, i, 0), v);
		hash = fold(hash, v);
	}
	return exact_end("code", hash);
}
