/* SPDX-License-Identifier: Apache-2.0 */
/*
 * REP INS and OUTS of every width, from and to buffers that cross pages, up and
 * down: each exit leaves the instruction half way.
 */
#include "exact.h"

#define ROUNDS 3
#define COUNT  48

static uint8_t buf[3 * 4096] __attribute__((aligned(4096)));
static uint64_t hash;

#define STRING(name, insn, reg)                                                \
	static uint64_t name(uint64_t at, uint64_t n, uint64_t down)           \
	{                                                                      \
		if (down)                                                      \
			__asm__ volatile("std\n\trep " insn "\n\tcld"          \
					 : "+" reg(at), "+c"(n)                \
					 : "d"(EXACT_PORT)                     \
					 : "memory");                          \
		else                                                           \
			__asm__ volatile("rep " insn                           \
					 : "+" reg(at), "+c"(n)                \
					 : "d"(EXACT_PORT)                     \
					 : "memory");                          \
		return at + (n << 48);                                         \
	}

STRING(in_1, "insb", "D")
STRING(in_2, "insw", "D")
STRING(in_4, "insl", "D")
STRING(out_1, "outsb", "S")
STRING(out_2, "outsw", "S")
STRING(out_4, "outsl", "S")

static void run(uint64_t (*fn)(uint64_t, uint64_t, uint64_t), unsigned width,
		bool down)
{
	int64_t dir = down ? -(int64_t)width : (int64_t)width;
	uint64_t at = (uint64_t)buf + 4096 - dir * (COUNT / 2), end;

	end = at_cpl0(fn, at, COUNT, down);
	expect("end", end, at + (uint64_t)(dir * COUNT));
	mark(end);
}

static void fill(uint64_t seed)
{
	for (unsigned i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(seed + i * 7 + (i >> 8));
}

int guest_main(void)
{
	for (unsigned i = 0; i < ROUNDS * 2; i++) {
		fill(i);
		run(out_1, 1, i & 1);
		run(out_2, 2, i & 1);
		run(out_4, 4, i & 1);
		run(in_1, 1, i & 1);
		run(in_2, 2, i & 1);
		run(in_4, 4, i & 1);
		for (unsigned j = 0; j < sizeof(buf); j++)
			hash = fold(hash, buf[j]);
	}
	return exact_end("strings", hash);
}
